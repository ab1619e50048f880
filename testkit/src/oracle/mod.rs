//! Reference answers, slow and obvious: written from the rules, not from the code under test.

pub mod endpoints;
pub mod http1;
pub mod inpod;
pub mod mesh;
pub mod policy;

/// How far counts are from what `weights` lead one to expect (Pearson's chi-square). What weighs nothing must not count.
#[must_use]
pub fn chi_square(counts: &[u32], weights: &[u32]) -> f64 {
    let draws: u32 = counts.iter().sum();
    let total: u32 = weights.iter().sum();
    let mut sum = 0.0;
    for (count, weight) in counts.iter().zip(weights) {
        if *weight == 0 {
            assert_eq!(*count, 0, "{counts:?} of {weights:?}");
            continue;
        }
        let expected = f64::from(draws) * f64::from(*weight) / f64::from(total);
        sum += (f64::from(*count) - expected).powi(2) / expected;
    }
    sum
}
