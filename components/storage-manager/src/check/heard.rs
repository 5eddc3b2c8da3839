//! A user that does not hear what it is answered, told at once.

use super::{Unfit, rights};
use crate::config::Config;

/// Looks whether the user hears what it is answered: else each question would take its time, and nothing would say why.
///
/// # Errors
/// It does not.
pub async fn heard(config: &Config) -> Result<(), Unfit> {
    match rights::inbox(config).await {
        Ok(lacks) if !lacks.is_empty() => Err(Unfit::Rights {
            lacks: rights::allow(&lacks.iter().collect::<Vec<_>>()),
            nats: true,
        }),
        Ok(_) => Ok(()),
        // The connection that is there has been heard.
        Err(error) => {
            tracing::debug!("whether answers are heard is not known: {error}");
            Ok(())
        }
    }
}
