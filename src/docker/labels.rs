//! What containers, networks and volumes of this crate's carry, so that they can be told from all others.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::error::Result;
use crate::holder;
use crate::owner::Owner;

/// The process that they end with.
pub(super) const OWNER: &str = "heldport.owner";
/// Where it can be found out whether that process is alive.
pub(super) const HOST: &str = "heldport.host";
/// The run of tests: nextest's, or the process's.
const RUN: &str = "heldport.run";
/// The test, for people.
pub(super) const TEST: &str = "heldport.test";

/// Those of what is made on this thread.
///
/// # Errors
/// [`Error::Directory`](crate::Error::Directory) if the host has no name.
pub(super) fn labels(owner: &Owner) -> Result<HashMap<String, String>> {
    static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:016x}", fastrand::u64(..)));
    let run = std::env::var("NEXTEST_RUN_ID").ok().filter(|run| !run.is_empty());
    let mut labels = HashMap::from([
        (OWNER.to_owned(), owner.id().to_owned()),
        (HOST.to_owned(), owner.host()?),
        (RUN.to_owned(), run.unwrap_or_else(|| PROCESS.clone())),
    ]);
    if let Some(test) = holder::test_of(&std::thread::current()) {
        labels.insert(TEST.to_owned(), test);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_makes_tells_the_test_and_its_owner() {
        let owner = Owner::current().unwrap();
        let (labels, again) = (labels(&owner).unwrap(), labels(&owner).unwrap());
        assert_eq!(labels[OWNER], owner.id());
        assert_eq!(labels[HOST], owner.host().unwrap());
        assert!(labels[TEST].contains("what_a_test_makes"), "{labels:?}");
        assert_eq!(labels, again);
    }
}
