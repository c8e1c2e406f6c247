//! The page at `/`.

/// One HTML document with its styles and its program.
pub const PAGE: &[u8] = include_bytes!("page.html");

#[cfg(test)]
mod tests {
    use super::PAGE;
    use crate::hub::{Broken, Closing, Unfinished};
    use crate::lottery::{BatchError, BetError, Refusal};
    use crate::status::facts::Gauges;
    use crate::status::reasons;
    use crate::status::snapshot::{not_ready, unhealthy};
    use crate::status::tally::Did;
    use crate::wire::{Dialect, Malformed, Rejection};

    /// Why batches are rejected, in sentences that have no part of their own.
    fn rejections() -> impl Iterator<Item = String> {
        let bets = [
            BetError::FirstName,
            BetError::LastName,
            BetError::Document,
            BetError::Birthdate,
            BetError::Number,
            BetError::Agency,
            BetError::Fields,
            BetError::MixedAgencies,
        ];
        let refusals = [Refusal::UnknownAgency, Refusal::Finished, Refusal::Drawn, Refusal::Excluded];
        let others = [
            Rejection::Batch(BatchError::Empty),
            Rejection::Batch(BatchError::Malformed),
            Rejection::Conflict,
            Rejection::StorageFull,
            Rejection::Credentials,
        ];
        let bets = bets.map(|bet| bet.to_string()).into_iter();
        bets.chain(refusals.map(|it| it.to_string())).chain(others.map(|it| it.to_string()))
    }

    /// Why connections end, as an agency's report has it.
    fn ends() -> impl Iterator<Item = String> {
        let closings = [
            Closing::NoDialectInTime,
            Closing::HubIsFull,
            Closing::FrameTimeout(Unfinished { dialect: None, bytes: 0, length: None }),
            Closing::IdleTimeout,
            Closing::WriteTimeout,
            Closing::PeerHasClosed,
            Closing::NoDialect,
            Closing::DialectIsOff(Dialect::Text),
            Closing::WinnersUnread,
            Closing::BuffersAreFull,
            Closing::StoreIsAway,
        ];
        let others = [reasons::BY_THE_PEER, reasons::CUT_SHORT, reasons::UNREPRESENTABLE, reasons::ECHOED];
        let broken = [Broken::Malformed(Malformed("x")), Broken::Gap].map(reasons::of_broken);
        let labels = closings.map(reasons::of_closing).into_iter().chain(others).chain(broken);
        labels.map(|label| Did::Ended(label).words().replace("its connection ended: ", ""))
    }

    /// Why a hub is not healthy, or not ready.
    fn alarms() -> impl Iterator<Item = String> {
        let well = || Gauges { listening: true, log_flows: true, ..Gauges::default() };
        let ill = [
            unhealthy(&Gauges { listening: false, ..well() }, false),
            unhealthy(&well(), true),
            unhealthy(&Gauges { disk_free_bytes: Some(0), ..well() }, false),
            unhealthy(&Gauges { log_flows: false, ..well() }, false),
            not_ready(&Gauges { stopping: true, ..well() }),
            not_ready(&Gauges { trouble: Some("x".to_owned()), ..well() }),
        ];
        ill.into_iter().map(|why| why.expect("the hub is ill").to_owned())
    }

    #[test]
    fn every_sentence_of_the_reports_is_there_in_spanish() {
        let page = std::str::from_utf8(PAGE).unwrap();
        let did = [Did::Hello, Did::Stored(1), Did::Finished].map(Did::words).into_iter();
        for sentence in did.chain(rejections()).chain(ends()).chain(alarms()) {
            let quote = if sentence.contains('\'') { '"' } else { '\'' };
            assert!(page.contains(&format!("\n  {quote}{sentence}{quote}: ")), "{sentence}");
        }
    }

    #[test]
    fn every_sentence_with_a_part_of_its_own_has_its_form_in_spanish() {
        let page = std::str::from_utf8(PAGE).unwrap();
        let count = |declared| Rejection::Batch(BatchError::Count { declared, present: 7 });
        let bad = Rejection::Batch(BatchError::BadBet { index: 6, error: BetError::Number });
        let why = BetError::Number.to_string();
        for sentence in [
            Did::Stored(7).words(),
            Did::Rejected(bad).words().replace(&bad.to_string(), &why),
            Did::Ended("x").words(),
            bad.to_string(),
            count(8).to_string(),
            count(6).to_string(),
        ] {
            let form = sentence.replace(['(', ')'], "").replace(&why, "(.*)").replace(": x", ": (.*)");
            let form = form.replace(" 7", if sentence.ends_with(')') { r" \((\d+)\)" } else { r" (\d+)" });
            assert!(page.contains(&format!("[/^{form}$/, ")), "{form}");
        }
    }
}
