//! Fail points: one between each two writes of a component. With the feature `fail-points` the process dies by
//! SIGKILL at the point that `CIM_FAIL_POINT` names, `CIM_FAIL_POINT=append-after:3` when it is reached the third time.

/// Dies here, when this point is the one.
macro_rules! fail_point {
    ($point:literal) => {
        #[cfg(feature = "fail-points")]
        $crate::component::points::reached(concat!("fail-point/", $point));
    };
}
pub(super) use fail_point;

/// The names of all points, in the order of the way of a command.
#[cfg(feature = "fail-points")]
pub(super) const ALL: [&str; 8] = [
    "fail-point/append-before",
    "fail-point/append-after",
    "fail-point/folded",
    "fail-point/owed-before",
    "fail-point/owed-after",
    "fail-point/view-midway",
    "fail-point/views-before-position",
    "fail-point/snapshot-before",
];

#[cfg(feature = "fail-points")]
static REACHED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[cfg(feature = "fail-points")]
pub(super) fn reached(point: &'static str) {
    use std::sync::atomic::Ordering;
    debug_assert!(ALL.contains(&point), "`{point}` is not in the list");
    let Ok(asked) = std::env::var("CIM_FAIL_POINT") else { return };
    let (name, at) = asked.split_once(':').unwrap_or((&asked, "1"));
    let armed = point.strip_prefix("fail-point/") == Some(name);
    if armed && (REACHED.fetch_add(1, Ordering::SeqCst) + 1).to_string() == at {
        eprintln!("{point}: dying here, as `CIM_FAIL_POINT` asks");
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}
