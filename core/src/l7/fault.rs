//! Faults put in on purpose, to see how clients bear them (Istio: `HTTPFaultInjection`).
use core::time::Duration;

use super::filters::Fraction;
use crate::rng::Rng;

/// How a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abort {
    /// With this status.
    Status(u16),
    /// With this status of gRPC.
    Grpc(u16),
}

/// Faults of a rule. Each has its own dice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Some requests wait so long first (flag `DI`).
    pub delay: Option<(Duration, Fraction)>,
    /// Some are refused (flag `FI`), after the delay if they have one.
    pub abort: Option<(Abort, Fraction)>,
}

/// What befalls one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Injected {
    /// The wait.
    pub delay: Option<Duration>,
    /// The refusal.
    pub abort: Option<Abort>,
}

impl Faults {
    /// Throws the dice for a request.
    pub fn draw(&self, rng: &mut Rng) -> Injected {
        Injected {
            delay: self.delay.filter(|(_, fraction)| fraction.draw(rng)).map(|(delay, _)| delay),
            abort: self.abort.filter(|(_, fraction)| fraction.draw(rng)).map(|(abort, _)| abort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_refusals_come_each_with_its_own_chance() {
        let half = Fraction { numerator: 50, denominator: 100 };
        let delay = Some((Duration::from_secs(1), half));
        let faults = Faults { delay, abort: Some((Abort::Status(418), half)) };
        let (mut rng, mut counts) = (Rng::new(5), [0_u32; 4]);
        for _ in 0..4000 {
            let Injected { delay, abort } = faults.draw(&mut rng);
            counts[usize::from(delay.is_some()) * 2 + usize::from(abort.is_some())] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(Faults::default().draw(&mut rng), Injected::default());
        let always = Faults { delay: None, abort: Some((Abort::Grpc(14), Fraction::ALL)) };
        assert_eq!(always.draw(&mut rng).abort, Some(Abort::Grpc(14)));
    }
}
