//! How many cases the property tests of this crate try.

use proptest::test_runner::Config;

/// The number in the environment variable `VMXSIM_CASES`, or 256.
pub(crate) fn cases() -> Config {
    let number = std::env::var("VMXSIM_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256);
    Config::with_cases(number)
}
