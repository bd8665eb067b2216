use super::*;
use std::error::Error as _;

#[test]
fn an_error_is_small_and_can_cross_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Error>();
    assert!(size_of::<Error>() <= 48, "{} bytes", size_of::<Error>());
}

#[test]
fn the_systems_word_is_the_source() {
    let error = Error::system(80, "bind")(io::Error::other("no such luck"));
    assert_eq!(error.to_string(), "cannot bind port 80: no such luck");
    assert_eq!(format!("{error:?}"), error.to_string(), "as a test shows it that unwraps");
    assert_eq!(error.source().unwrap().to_string(), "no such luck");
    let error = Error::system(None, "read the port range")(io::Error::other("gone"));
    assert_eq!(error.to_string(), "cannot read the port range: gone");
}

#[test]
fn a_number_in_time_wait_says_when_to_retry() {
    let error = Error::InUse { port: 80, holder: None, retry_after: Some(Duration::from_millis(41_200)) };
    assert!(error.to_string().ends_with("next: retry in 42 s"), "{error}");
}
