//! Guards against panics of the parquet crate, which trusts lengths in a file here and there and panics where they
//! lie. Nothing is wrong with this program then: the file is damaged, and that is what is said.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use parquet::errors::ParquetError;

thread_local! {
    /// True if this thread is within a guarded call.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Reads with the parquet crate what comes from outside. A panic becomes an error, without a word of its own.
pub(super) fn catch_panic<T>(
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, ParquetError> {
    let panicked = || Err(ParquetError::General("its lengths contradict each other".into()));
    caught(read).unwrap_or_else(panicked)
}

/// Calls `read`; `None` where it panicked.
fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| panic::set_hook(quiet(panic::take_hook())));
    let within = GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(within);
    done.ok()
}

/// Returns a hook that says nothing of a panic within a guarded call, and of all others what `loud` says.
fn quiet(loud: Hook) -> Hook {
    Box::new(move |panic| {
        if !GUARDED.try_with(Cell::get).unwrap_or(false) {
            loud(panic);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_panic_is_an_error_and_silent_within_a_guarded_call_alone() {
        // Its hook is there from now on.
        assert_eq!(caught(|| 1), Some(1));
        let before = panic::take_hook();
        let (said, here) = (Arc::new(AtomicU32::new(0)), thread::current().id());
        let count = Arc::clone(&said);
        panic::set_hook(quiet(Box::new(move |_| {
            // Other tests panic meanwhile.
            if thread::current().id() == here {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })));
        let harmless = || -> Result<(), ParquetError> { panic!("harmless") };
        let said = || said.load(Ordering::Relaxed);
        let error = catch_panic(harmless).unwrap_err().to_string();
        assert!(error.contains("its lengths contradict each other"), "{error}");
        let error =
            catch_panic(|| catch_panic(harmless).or_else(|_| harmless())).unwrap_err().to_string();
        assert!(error.contains("its lengths contradict each other"), "{error}");
        let quiet = said();
        assert!(panic::catch_unwind(harmless).is_err());
        let loud = said();
        panic::set_hook(before);
        assert_eq!((quiet, loud), (0, 1));
    }
}
