//! Logins of a service at NATS.

use std::path::Path;

use nkeys::{KeyPair, KeyPairType};

use super::NatsConfig;
use crate::config::{self, ConfigError};

/// A login, with its secrets read. Has no `Debug`, so that no log can hold it.
pub enum Login {
    /// No login, or the one in the URL.
    None,
    /// A name and its password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The contents of a `.creds` file: the account's statement that the user is one of its, and the user's key.
    Credentials {
        /// The statement, a JWT.
        jwt: String,
        /// The key.
        nkey: Nkey,
    },
    /// A user's key pair, which signs the server's nonce: the server never sees a secret.
    Nkey(Nkey),
}

/// A user's nkey, seed included.
pub struct Nkey {
    seed: String,
    pair: Box<KeyPair>,
}

impl Nkey {
    /// Reads the seed in the first line of a file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no seed of a user. The error never shows the content.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let seed = config::secret(path)?;
        let refuse = |what: &str| ConfigError::SecretContent {
            path: path.into(),
            message: format!(
                "{what}: its first line must be the seed of a user's nkey, 58 characters that begin with `SU`"
            ),
        };
        let pair = KeyPair::from_seed(&seed).map_err(|_| refuse("it holds no nkey seed"))?;
        if pair.key_pair_type() != KeyPairType::User {
            return Err(refuse("it holds an nkey seed that is not a user's"));
        }
        Ok(Self { seed, pair: Box::new(pair) })
    }

    /// Returns the secret, `SU…`.
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// Returns the public key, `U…`, by which the server's configuration names the user.
    pub fn public_key(&self) -> String {
        self.pair.public_key()
    }

    /// Returns the signature of a server's nonce, 64 bytes.
    pub fn sign(&self, nonce: &[u8]) -> Vec<u8> {
        self.pair.sign(nonce).expect("a key pair with its seed can sign")
    }
}

/// Reads a `.creds` file.
fn credentials(path: &Path) -> Result<Login, ConfigError> {
    let text = config::read_secret(path)?;
    let part = |label| {
        pem_body(&text, label).ok_or_else(|| ConfigError::SecretContent {
            path: path.into(),
            message: format!("it has no `-----BEGIN {label}-----`, as a .creds file has"),
        })
    };
    let (jwt, seed) = (part("NATS USER JWT")?, part("USER NKEY SEED")?);
    let pair = KeyPair::from_seed(seed).map_err(|_| ConfigError::SecretContent {
        path: path.into(),
        message: "its `USER NKEY SEED` is not an nkey seed: create the file again".into(),
    })?;
    let nkey = Nkey { seed: seed.into(), pair: Box::new(pair) };
    Ok(Login::Credentials { jwt: jwt.into(), nkey })
}

/// Returns the text between `-----BEGIN label-----` and the next dashes.
fn pem_body<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let after = text.split_once(&format!("BEGIN {label}-----"))?.1;
    Some(after.split_once("-----")?.0.trim().trim_end_matches('-').trim())
}

impl Login {
    /// Returns the answer to a server that asks with this nonce.
    pub fn answer(&self, nonce: &[u8]) -> async_nats::Auth {
        let mut auth = async_nats::Auth::new();
        match self {
            Self::None => {}
            Self::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.clone());
            }
            Self::Token(token) => auth.token = Some(token.clone()),
            Self::Credentials { jwt, nkey } => {
                auth.jwt = Some(jwt.clone());
                auth.signature = Some(nkey.sign(nonce));
            }
            Self::Nkey(nkey) => {
                auth.nkey = Some(nkey.public_key());
                auth.signature = Some(nkey.sign(nonce));
            }
        }
        auth
    }
}

impl NatsConfig {
    /// Returns the file that holds the secret of the login, if there is one.
    pub fn secret_file(&self) -> Option<&Path> {
        let files =
            [&self.password_file, &self.token_file, &self.credentials_file, &self.nkey_file];
        files.into_iter().find_map(Option::as_deref)
    }

    /// Returns the one login that the table names, with its secret read.
    ///
    /// # Errors
    /// The table names two logins, or half of one; a secret cannot be read or is invalid.
    pub fn login(&self) -> Result<Login, ConfigError> {
        let named = [
            ("user", self.user.is_some() || self.password_file.is_some()),
            ("token_file", self.token_file.is_some()),
            ("credentials_file", self.credentials_file.is_some()),
            ("nkey_file", self.nkey_file.is_some()),
        ];
        let named: Vec<_> = named.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
        if let [first, second, ..] = named[..] {
            return Err(ConfigError::Conflict(format!(
                "`nats.{first}` and `nats.{second}` are two ways to log in: keep one of them"
            )));
        }
        Ok(match self {
            Self { user: Some(user), password_file: Some(file), .. } => {
                Login::Password { user: user.clone(), password: config::secret(file)? }
            }
            Self { user: Some(_), .. } => {
                let message = "`nats.user` needs `nats.password_file`: add it".into();
                return Err(ConfigError::Conflict(message));
            }
            Self { password_file: Some(_), .. } => {
                let message = "`nats.password_file` needs `nats.user`: add it".into();
                return Err(ConfigError::Conflict(message));
            }
            Self { token_file: Some(file), .. } => Login::Token(config::secret(file)?),
            Self { credentials_file: Some(file), .. } => credentials(file)?,
            Self { nkey_file: Some(file), .. } => Login::Nkey(Nkey::read(file)?),
            _ => Login::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn login(toml: &str) -> Result<Login, ConfigError> {
        let text = format!("url = \"nats://127.0.0.1\"\n{toml}");
        config::parse::<NatsConfig>(Path::new("cim.toml"), &text).unwrap().login()
    }

    #[test]
    fn one_way_to_log_in_and_the_whole_of_it() {
        assert!(matches!(login("").unwrap(), Login::None));
        let errors = [
            "nkey_file = \"a\"\ncredentials_file = \"b\"",
            "nkey_file = \"a\"\nuser = \"b\"\npassword_file = \"c\"",
            "nkey_file = \"a\"\ntoken_file = \"b\"",
            "user = \"a\"",
            "password_file = \"a\"",
        ]
        .map(|toml| chain(&login(toml).err().unwrap()));
        insta::assert_snapshot!(errors.join("\n"), @"
        configuration: `nats.credentials_file` and `nats.nkey_file` are two ways to log in: keep one of them
        configuration: `nats.user` and `nats.nkey_file` are two ways to log in: keep one of them
        configuration: `nats.token_file` and `nats.nkey_file` are two ways to log in: keep one of them
        configuration: `nats.user` needs `nats.password_file`: add it
        configuration: `nats.password_file` needs `nats.user`: add it
        ");
    }

    #[test]
    fn a_creds_file_has_both_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.creds");
        let toml = format!("credentials_file = \"{}\"", path.display());
        let user = KeyPair::new_user();
        let block = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n------END {label}------\n\n")
        };
        let (jwt, seed) = (block("NATS USER JWT", "e.y.J"), user.seed().unwrap());
        let mut errors = Vec::new();
        for text in
            ["AWS_ACCESS_KEY_ID=a\n", &jwt, &format!("{jwt}{}", block("USER NKEY SEED", "SUX"))]
        {
            std::fs::write(&path, text).unwrap();
            let error = chain(&login(&toml).err().unwrap());
            errors.push(error.replace(&path.display().to_string(), "FILE"));
        }
        insta::assert_snapshot!(errors.join("\n"), @"
        secret `FILE`: it has no `-----BEGIN NATS USER JWT-----`, as a .creds file has
        secret `FILE`: it has no `-----BEGIN USER NKEY SEED-----`, as a .creds file has
        secret `FILE`: its `USER NKEY SEED` is not an nkey seed: create the file again
        ");
        std::fs::write(&path, format!("{jwt}{}", block("USER NKEY SEED", &seed))).unwrap();
        let answer = login(&toml).unwrap().answer(b"nonce");
        assert_eq!(answer.jwt.as_deref(), Some("e.y.J"));
        user.verify(b"nonce", &answer.signature.unwrap()).unwrap();
    }

    #[test]
    fn a_seed_is_a_users_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.nk");
        let toml = format!("nkey_file = \"{}\"", path.display());
        let error = || {
            let error = chain(&login(&toml).err().unwrap());
            error.replace(&path.display().to_string(), "FILE")
        };
        let user = KeyPair::new_user();
        let seed = user.seed().unwrap();
        let mut errors = vec![error()];
        let cut = &seed[..57];
        let account = KeyPair::new_account().seed().unwrap();
        for content in ["", "\nsecond line", cut, &user.public_key(), &account] {
            std::fs::write(&path, content).unwrap();
            errors.push(error());
            assert!(content.len() < 20 || !errors.last().unwrap().contains(&content[..20]));
        }
        insta::assert_snapshot!(errors.join("\n"), @"
        cannot read secret `FILE`: No such file or directory (os error 2)
        secret `FILE`: its first line is empty
        secret `FILE`: its first line is empty
        secret `FILE`: it holds no nkey seed: its first line must be the seed of a user's nkey, 58 characters that begin with `SU`
        secret `FILE`: it holds no nkey seed: its first line must be the seed of a user's nkey, 58 characters that begin with `SU`
        secret `FILE`: it holds an nkey seed that is not a user's: its first line must be the seed of a user's nkey, 58 characters that begin with `SU`
        ");

        std::fs::write(&path, format!("{seed}\n# of the storage manager\n")).unwrap();
        let Ok(Login::Nkey(nkey)) = login(&toml) else { panic!("the seed is good") };
        assert_eq!((nkey.seed(), nkey.public_key()), (seed.as_str(), user.public_key()));
        user.verify(b"nonce", &nkey.sign(b"nonce")).unwrap();
    }
}
