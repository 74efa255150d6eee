//! Latencies as counts in buckets that can be added up.
//!
//! Each power of two is cut into [`PER_OCTAVE`] buckets of equal width, so that a percentile is
//! wrong by 1/32 at the most, whatever its size, and any two histograms merge by addition. Only
//! whole numbers: a rebuild counts as the first run did, on any machine.

/// Buckets for each power of two.
const PER_OCTAVE: u64 = 1 << PER_OCTAVE_BITS;
const PER_OCTAVE_BITS: u32 = 4;

/// The longest latency told apart, in microseconds: a day and more.
pub(super) const MAX_US: u64 = 1 << 37;

/// The bucket of a latency in microseconds.
pub(super) fn bucket(latency_us: u64) -> i16 {
    let latency = latency_us.min(MAX_US);
    if latency < PER_OCTAVE {
        return latency as i16;
    }
    let octave = latency.ilog2() - PER_OCTAVE_BITS;
    let index = (u64::from(octave) << PER_OCTAVE_BITS) + (latency >> octave);
    index as i16
}

/// The middle of a bucket, in microseconds.
fn middle_us(bucket: i16) -> f64 {
    let index = u64::try_from(bucket).unwrap_or(0);
    if index < PER_OCTAVE {
        return index as f64;
    }
    let octave = (index >> PER_OCTAVE_BITS) - 1;
    let mantissa = PER_OCTAVE + (index & (PER_OCTAVE - 1));
    ((mantissa << octave) as f64) + ((1_u64 << octave) as f64 - 1.0) / 2.0
}

/// The percentile (from 0 to 1) of buckets and their counts, in milliseconds; none of nothing.
/// `counts` is ordered by bucket.
pub(super) fn percentile_ms(counts: &[(i16, i64)], share: f64) -> Option<f64> {
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return None;
    }
    let rank = ((total as f64 * share).ceil() as i64).clamp(1, total);
    let mut seen = 0;
    counts
        .iter()
        .find(|(_, count)| {
            seen += count;
            seen >= rank
        })
        .map(|(bucket, _)| middle_us(*bucket) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_latencies_are_exact() {
        for latency in 0..32 {
            assert_eq!(middle_us(bucket(latency)), latency as f64);
        }
    }

    #[test]
    fn percentiles_are_taken_by_nearest_rank() {
        let counts = [(1, 50), (2, 45), (3, 5)];
        assert_eq!(percentile_ms(&counts, 0.50), Some(0.001));
        assert_eq!(percentile_ms(&counts, 0.95), Some(0.002));
        assert_eq!(percentile_ms(&counts, 0.99), Some(0.003));
        assert_eq!(percentile_ms(&[], 0.5), None);
    }

    proptest! {
        #[test]
        fn a_bucket_is_never_far_from_what_it_counts(latency in 1..MAX_US) {
            let off = (middle_us(bucket(latency)) - latency as f64).abs() / latency as f64;
            prop_assert!(off <= 1.0 / 32.0, "{latency} is off by {off}");
        }

        #[test]
        fn longer_latencies_have_no_lower_bucket(a in 0..u64::MAX, b in 0..u64::MAX) {
            prop_assert_eq!(bucket(a.min(b)) <= bucket(a.max(b)), true);
        }
    }
}
