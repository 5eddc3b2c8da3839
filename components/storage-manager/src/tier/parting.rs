//! Finds the place where two histories part. They share a beginning and then nothing, so it is found by halving.

/// The outcome of one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Same {
    /// Both have the same message.
    Yes,
    /// They have different ones.
    No,
    /// The live stream does not have it any more.
    Gone,
}

/// The place where two histories part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parting {
    /// The number of items at the beginning that both may have.
    pub(super) shared: usize,
    /// The last one of them that was found to be the same.
    pub(super) same: Option<usize>,
}

/// Finds where two histories of `count` items part, with one comparison for each halving. An item that is gone from the
/// live stream counts as shared: that is what limits do to the front of a stream.
pub(super) async fn find<E, F>(
    count: usize,
    mut compare: impl FnMut(usize) -> F,
) -> Result<Parting, E>
where
    F: Future<Output = Result<Same, E>>,
{
    let (mut shared, mut end, mut same) = (0, count, None);
    while shared < end {
        let middle = usize::midpoint(shared, end);
        match compare(middle).await? {
            Same::No => end = middle,
            Same::Gone => shared = middle + 1,
            Same::Yes => (shared, same) = (middle + 1, Some(middle)),
        }
    }
    Ok(Parting { shared, same })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_shared_beginning_is_found_in_few_comparisons(
            beginning in prop::collection::vec(prop::bool::weighted(0.7), 0..200), other in 0usize..200,
        ) {
            let there = |index: usize| match beginning.get(index) {
                Some(true) => Same::Yes,
                Some(false) => Same::Gone,
                None => Same::No,
            };
            let (count, mut asked) = (beginning.len() + other, 0u32);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(find(count, |index| {
                asked += 1;
                ready(Ok::<_, Infallible>(there(index)))
            }));
            let Ok(found) = found;
            prop_assert_eq!(found.shared, beginning.len());
            prop_assert!(found.same.is_none_or(|index| there(index) == Same::Yes));
            if beginning.iter().all(|is_there| *is_there) {
                prop_assert_eq!(found.same, beginning.len().checked_sub(1));
            }
            prop_assert!(asked <= count.next_power_of_two().ilog2() + 1);
        }
    }
}
