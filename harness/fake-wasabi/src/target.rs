//! The thing that a request is about.

/// The operation of a request, known once the request was authenticated and routed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) operation: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
}
