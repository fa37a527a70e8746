//! The speed of the processor's time stamp counter.

use std::time::Duration;

/// Long enough for some parts per million: an error is the guest's clock
/// going wrong for as long as it runs.
const SPAN: Duration = Duration::from_millis(250);

/// In kHz; `None` where there is no such counter.
pub(super) async fn measure() -> Option<u64> {
    let (time, ticks) = now()?;
    tokio::time::sleep(SPAN).await;
    let (later, more) = now()?;
    let elapsed = later.checked_sub(time)?.as_nanos();
    let khz = u128::from(more.checked_sub(ticks)?) * 1_000_000 / elapsed.max(1);
    u64::try_from(khz).ok().filter(|khz| *khz > 0)
}

/// Both clocks at the same moment: the closest of some tries.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[expect(unsafe_code, reason = "the instruction that reads the counter")]
fn now() -> Option<(Duration, u64)> {
    use rustix::time::{ClockId, clock_gettime};
    // SAFETY: the instruction has no operands and every processor has it.
    let ticks = || unsafe { core::arch::x86_64::_rdtsc() };
    let best = (0..20)
        .map(|_| {
            let before = ticks();
            let time = clock_gettime(ClockId::MonotonicRaw);
            let after = ticks();
            (
                after.saturating_sub(before),
                time,
                before + (after - before) / 2,
            )
        })
        .min_by_key(|(width, ..)| *width);
    let (_, time, ticks) = best?;
    let time = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    Some((time, ticks))
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn now() -> Option<(Duration, u64)> {
    None
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn two_measurements_agree() {
        let (Some(first), Some(second)) = (super::measure().await, super::measure().await) else {
            return;
        };
        assert!(first.abs_diff(second) * 10_000 < first, "{first} {second}");
    }
}
