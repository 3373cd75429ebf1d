//! Every set of setup flags, asked of the kernel and compared with our rules of exclusion.

use rawring::flags::SetupFlags;
use rawring::probe::RingTrials;
use rawring::{Conflict, Errno};

use crate::common::{in_own_process, probe};

/// How many of the sets that are tried a kernel takes, by the number of flags that it knows: the record of what was seen.
///
/// Every set of all flags was tried as well (`rawring rings --all` does it): Linux 6.1 takes 3,584 of 16,384, 6.12 21,504
/// of 131,072, 6.16 and 6.17 32,256 of 262,144, 6.18 48,384 of 524,288, 6.19 72,576 of 1,048,576, 7.0 and 7.3 98,496 of
/// 2,097,152, and all of them the same as by the rules.
const ACCEPTED: &[(usize, usize)] =
    &[(7, 12), (14, 224), (17, 1_344), (18, 2_016), (19, 3_024), (20, 4_536), (21, 6_156)];

#[test]
fn item_10_every_set_of_flags_is_judged_as_the_kernel_judges_it() {
    const TEST: &str = "sets::item_10_every_set_of_flags_is_judged_as_the_kernel_judges_it";
    // In a process of its own, for the places of registered rings.
    in_own_process(TEST, || {
        let trials = RingTrials::new().expect("rings");
        let flags = SetupFlags::INFO.iter().map(|info| SetupFlags::from_bits_retain(info.bits as u32));
        let (known, unknown): (Vec<_>, Vec<_>) = flags.partition(|&flag| probe().supports_setup(flag));
        let among = known.iter().fold(SetupFlags::empty(), |all, &flag| all | flag);
        let mut accepted = 0;
        for set in RingTrials::sets(among, RingTrials::FREE) {
            let mut answer = trials.accepts(set);
            // Rings are taken apart some time after they are closed.
            while answer == Err(Errno::NOMEM) || answer == Err(Errno::MFILE) {
                std::thread::yield_now();
                answer = trials.accepts(set);
            }
            let expected = if Conflict::of(set).is_some() { Err(Errno::INVAL) } else { Ok(()) };
            assert_eq!(answer, expected, "{set:?}: {:?}", Conflict::of(set));
            accepted += usize::from(answer.is_ok());
        }
        // No set with a flag that the kernel does not know is taken, whatever else is in it.
        for flag in unknown {
            for &other in known.iter().chain(&[SetupFlags::empty()]) {
                assert_eq!(trials.accepts(flag | other), Err(Errno::INVAL), "{flag:?} and {other:?}");
            }
        }
        let record = ACCEPTED.iter().find(|(flags, _)| *flags == known.len());
        assert_eq!(record, Some(&(known.len(), accepted)), "a kernel that knows other flags: record what it takes");
    });
}
