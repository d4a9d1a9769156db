//! What the benchmarks share: guest programs as bytes, and machines to run them on.

pub mod guest;
pub mod loops;
pub mod machine;

/// The middle of several figures, if there are any.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// How many runs a figure is the median of: VMXSIM_RUNS, or 5.
#[must_use]
pub fn runs() -> usize {
    std::env::var("VMXSIM_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}
