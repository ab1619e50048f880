//! The indexed evaluator against the slow obvious one ([`adit_testkit::oracle::policy`]), on random policies, listed
//! keys and connections: verdicts, the rules that decide, and what policies on trial say.
use adit_testkit::fuzz::policy::body;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_reference(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        body(&data);
    }
}
