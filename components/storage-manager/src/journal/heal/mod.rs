//! Objects of the NAS that cannot be read, and what becomes of them.
//!
//! Who finds one (merging, the way to Wasabi, a look at everything once in a while) reports it, leaves it alone from then on, and goes on with all
//! else. Here it is looked at again, at growing intervals: what is whole of it, and what JetStream still has
//! exactly as it was archived, goes into a new object, which takes the place of the damaged one in the journal.
//! Where nothing has it exactly any more, and the newest timeline of a stream needs it, that stream is archived anew
//! from there on; what only a timeline needs that was left stays as it is, and nothing waits for it.
//! What is exactly the same the hash of a part decides: it is over the hashes of its messages.

mod damaged;
mod error;
mod file;
mod part;
mod run;
mod scrub;
mod source;
mod text;
mod unhealed;
mod wasabi;

pub use damaged::DamagedObjects;
pub use run::run;
pub use scrub::run as scrub;
pub use text::check_text;
