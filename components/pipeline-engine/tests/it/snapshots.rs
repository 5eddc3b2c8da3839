//! `run --file`: the test of a definition, with the output that is expected.

use crate::program::run_in;

const DOUBLE: &str = "pipeline = \"p\"\nformat = 1\n[[stage]]\nname = \"a\"\nkind = \"map\"\nexpression = \". * 2\"\n[[output]]\nname = \"out\"\n";

#[test]
fn an_expected_output_is_taken_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("p.toml"), DOUBLE).unwrap();
    std::fs::write(file("in.ndjson"), "1\n\n\"ab\"\n{}\n").unwrap();
    let run = |more: &[&str]| {
        run_in(folder.path(), &[&["run", "p.toml", "--file", "in.ndjson"], more].concat())
    };
    let all = "{\"output\":\"out\",\"id\":\"1\",\"value\":2}\n{\"output\":\"out\",\"id\":\"3\",\"value\":\"abab\"}\n{\"lost\":\"dead\",\"stage\":\"a\",\"id\":\"4\",\"why\":\"cannot calculate {} * 2\",\"value\":{}}\n";
    assert_eq!(
        run(&[]),
        (Some(0), all.into(), "3 events, 1 dead or late, 0 that nothing reads\n".into())
    );

    let expected = ["--expect", "out.ndjson"];
    assert_eq!(run(&expected).0, Some(6), "there is none yet");
    assert_eq!(run(&["--expect", "out.ndjson", "--accept"]).0, Some(0));
    assert_eq!(std::fs::read_to_string(file("out.ndjson")).unwrap(), all);
    assert_eq!(run(&expected).0, Some(0));

    std::fs::write(file("p.toml"), DOUBLE.replace("* 2", "* 3")).unwrap();
    let (status, diff, said) = run(&expected);
    assert_eq!(status, Some(6));
    for line in [
        "-{\"output\":\"out\",\"id\":\"1\",\"value\":2}\n",
        "+{\"output\":\"out\",\"id\":\"1\",\"value\":3}\n",
    ] {
        assert!(diff.contains(line), "{diff}");
    }
    assert!(said.contains("`--accept`"), "{said}");

    std::fs::write(file("p.toml"), DOUBLE.replace(". * 2", ". *")).unwrap();
    assert_eq!(run(&expected).0, Some(5));
    assert_eq!(run_in(folder.path(), &["run", "p.toml", "--file", "none"]).0, Some(5));
}
