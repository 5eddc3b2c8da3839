//! Hooks for tests: points at which the program kills itself, and small mutations that the harness must find.
//!
//! - `fail-points`: the program kills itself at the point that `CIM_FAIL_POINT` names.
//! - `sabotage`: the program does what `CIM_SABOTAGE` names, once, and says so in its log.
//!
//! Both are cargo features that are off; without them the macros below are nothing, or their argument.
//! A build without debug assertions refuses them (see lib.rs), and `ci/check-release` looks for their
//! names in the programs that are shipped. Code in here is not made faster, safer or tidier at the cost
//! of the code that it hooks into: a hook is one line there.
//!
//! Why not the `fail` crate: it knows actions that block a thread or unwind, and none that kills; a task
//! of tokio that unwinds is restarted by the session's own error handling, which is another fault. And
//! its points are texts: a misspelt one is never reached, and there is no list of them.

#[cfg(feature = "sabotage")]
pub mod mutations;
#[cfg(feature = "fail-points")]
pub mod points;

/// Dies here, when this point is the one.
macro_rules! fail_point {
    ($point:ident) => {
        #[cfg(feature = "fail-points")]
        $crate::hooks::points::reached($crate::hooks::points::FailPoint::$point);
    };
    ($point:ident if $when:expr) => {
        #[cfg(feature = "fail-points")]
        if $when {
            $crate::hooks::points::reached($crate::hooks::points::FailPoint::$point);
        }
    };
}

/// A value, or what a saboteur makes of it; or an early return that only a saboteur takes.
macro_rules! sabotage {
    ($hook:ident, $honest:expr) => {{
        let honest = $honest;
        #[cfg(feature = "sabotage")]
        let honest = $crate::hooks::mutations::$hook(honest);
        honest
    }};
    (if $hook:ident($($argument:expr),*) return $mutated:expr) => {
        #[cfg(feature = "sabotage")]
        if $crate::hooks::mutations::$hook($($argument),*) {
            return $mutated;
        }
    };
}

pub(crate) use {fail_point, sabotage};

/// Checks that the environment asks for hooks that this build has. A build without any does not look.
#[cfg(any(feature = "fail-points", feature = "sabotage"))]
pub(crate) fn check() -> Result<(), String> {
    #[cfg(feature = "fail-points")]
    {
        points::check()?;
        crate::clock::moved::check()?;
    }
    #[cfg(feature = "sabotage")]
    mutations::check()?;
    Ok(())
}

/// Lists the hooks of this build, as JSON: so the harness knows that a program can be made to fail.
#[cfg(any(feature = "fail-points", feature = "sabotage"))]
pub(crate) fn list() -> String {
    #[cfg(not(feature = "fail-points"))]
    let fail_points: [&str; 0] = [];
    #[cfg(feature = "fail-points")]
    let fail_points = points::FailPoint::names();
    #[cfg(not(feature = "sabotage"))]
    let sabotages: [&str; 0] = [];
    #[cfg(feature = "sabotage")]
    let sabotages = mutations::Sabotage::names();
    serde_json::json!({ "fail_points": fail_points, "sabotages": sabotages }).to_string()
}
