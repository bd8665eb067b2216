use std::time::Duration;

use bollard::models::HealthConfig;

#[cfg(doc)]
use super::ContainerSpec;

/// How the engine finds out whether a container is healthy, for [`ContainerSpec::health`].
///
/// What is not set is the image's, or else the engine's default: 30 seconds for an answer, unhealthy after 3 failures
/// in a row. But for the [`interval`](Self::interval): engines check every 30 seconds by default, for the first time
/// after 30 seconds, and so do most images. A test waits for health, so it is a quarter of a second here, of an image's
/// own check too.
///
/// ```no_run
/// use std::time::Duration;
/// use heldport::docker::{ContainerSpec, Health};
///
/// let postgres = ContainerSpec::new("postgres:17")
///     .publish(5432)
///     .env("POSTGRES_PASSWORD", "test")
///     // Over TCP: while the image sets the database up, the server answers on its socket alone.
///     .health(Health::command(["pg_isready", "-h", "127.0.0.1"]).start_period(Duration::from_secs(20)));
/// # drop(postgres);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it is for `ContainerSpec::health`"]
pub struct Health(pub(super) HealthConfig);

impl Health {
    /// Healthy if this program, run inside, exits with 0.
    pub fn command<A: Into<String>>(command: impl IntoIterator<Item = A>) -> Self {
        Self::test("CMD", command)
    }

    /// Healthy if this line, run by the image's shell inside, exits with 0. The image needs one.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::test("CMD-SHELL", [line])
    }

    /// No check, also if the image has one.
    pub fn none() -> Self {
        Self::test("NONE", None::<String>)
    }

    fn test<A: Into<String>>(kind: &str, words: impl IntoIterator<Item = A>) -> Self {
        let words = words.into_iter().map(Into::into);
        let test = [kind.to_owned()].into_iter().chain(words).collect();
        Self(HealthConfig { test: Some(test), ..Default::default() })
    }

    /// The default of [`interval`](Self::interval).
    pub const INTERVAL: Duration = Duration::from_millis(250);

    /// The time before the first check, and between two. At least 1 ms. Default: [`INTERVAL`](Self::INTERVAL); with
    /// Podman, the image's or the engine's.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.0.interval = Some(nanoseconds(interval));
        self
    }

    /// How long a check may take. At least 1 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = Some(nanoseconds(timeout));
        self
    }

    /// How many failures in a row make it unhealthy. At least 1.
    pub fn retries(mut self, retries: u32) -> Self {
        self.0.retries = Some(retries.into());
        self
    }

    /// The time after its start in which failures do not count. At least 1 ms; default: none.
    pub fn start_period(mut self, start_period: Duration) -> Self {
        self.0.start_period = Some(nanoseconds(start_period));
        self
    }
}

/// The interval of tests, where none was asked for. A check without a command is the image's own, or none.
pub(crate) fn check_often(health: &mut Option<HealthConfig>) {
    let health = health.get_or_insert_default();
    if health.test.as_ref().and_then(|test| test.first()).is_none_or(|kind| kind != "NONE") {
        health.interval.get_or_insert(nanoseconds(Health::INTERVAL));
    }
}

/// As the engine wants them. Nobody waits for the 292 years at which this ends.
fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
