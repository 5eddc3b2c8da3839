# Writes the files of a text from nixos/lib/tests below the directory `to`: a line `>PATH` begins a file, lines
# of a file begin with `|`.
/^>/ {
    if (file) close(file)
    file = directory = to "/" substr($0, 2)
    sub(/\/[^\/]*$/, "", directory)
    if (!(directory in made)) { system("mkdir -p \"" directory "\""); made[directory] = 1 }
    printf "" >file
    next
}
{ print substr($0, 2) >file }
