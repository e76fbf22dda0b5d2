//! When the next attempt is due.

use std::time::Duration;

use personium_token::trust::CertificateDetails;
use personium_types::Random;

use super::{AcmeSettings, AcmeState};

/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The time after now in milliseconds.
pub(super) fn after(now_ms: i64, pause: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}

/// The pause after so many attempts without success: the first one, doubled with each further one, a day at most, and up to a tenth
/// more.
pub(super) fn pause(first: Duration, failures: u32, random: &dyn Random) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
    let pause = doubled.and_then(|factor| first.checked_mul(factor));
    let pause = pause.map_or(MAX_PAUSE, |pause| pause.min(MAX_PAUSE));
    let mut byte = [0];
    // Without randomness all wait for the same time.
    let _ = random.fill(&mut byte);
    pause + pause * u32::from(byte[0]) / 2560
}

/// The time from which a certificate is to be renewed: when a third of its life is left, and up to a thirtieth earlier, which
/// depends on the certificate, so that those that were made at the same time are not renewed at the same time.
pub(crate) fn renewal_ms(details: &CertificateDetails) -> i64 {
    let info = &details.info;
    let life_ms = info.not_after_ms.saturating_sub(info.not_before_ms);
    let digits = details.sha256.get(..4).unwrap_or_default();
    let share = i64::from(u16::from_str_radix(digits, 16).unwrap_or(0));
    let earlier_ms = life_ms / 30 * share / i64::from(u16::MAX);
    info.not_after_ms - life_ms / 3 - earlier_ms
}

/// The time from which the next attempt is due. `current` is the certificate in the folder.
pub(super) fn next_attempt_ms(
    settings: &AcmeSettings,
    state: &AcmeState,
    current: Option<&CertificateDetails>,
    now_ms: i64,
) -> i64 {
    let wanted_ms = match current {
        Some(details) if state.issued_for == settings.purpose() => renewal_ms(details),
        Some(_) | None => i64::MIN,
    };
    // The clock was set back: what it said then would keep the next attempt from coming.
    let is_of_this_clock = state.last_attempt_ms <= now_ms;
    // Neither failures nor successes may follow each other quickly.
    match is_of_this_clock && state.fingerprint == settings.fingerprint() {
        true => wanted_ms.max(state.next_attempt_ms),
        false => wanted_ms,
    }
}

#[cfg(test)]
mod tests {
    use personium_token::trust::{
        CertificatePurpose, CertificateSpec, RsaBits, generate_rsa_key, self_signed_certificate,
    };

    use super::*;
    use crate::config::{ConfigSources, LoadedConfig};
    use crate::system;

    const NOW_MS: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 24 * 3600 * 1000;

    fn settings(directory: &str) -> AcmeSettings {
        let options = [
            ("tls.listen", "127.0.0.1:0"),
            ("tls.redirect.listen", "127.0.0.1:0"),
            ("tls.acme.directory", directory),
            ("tls.acme.termsAgreed", "true"),
            ("unitFqdn", "unit.example"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let loaded = LoadedConfig::load(&ConfigSources {
            options: options.to_vec(),
            ..ConfigSources::default()
        })
        .unwrap();
        let urls = crate::unit_url::unit_urls(&loaded).unwrap();
        AcmeSettings::of(&loaded.config, &urls).unwrap()
    }

    fn certificate(days: i64) -> CertificateDetails {
        let key = generate_rsa_key(RsaBits::Bits2048).unwrap();
        let pem = self_signed_certificate(
            &key,
            &CertificateSpec {
                purpose: CertificatePurpose::Server,
                name: "unit.example".to_owned(),
                organization: None,
                not_before_ms: NOW_MS,
                not_after_ms: NOW_MS + days * DAY_MS,
                serial: [7; 16],
            },
        )
        .unwrap();
        CertificateDetails::list_of_file(pem.as_bytes())
            .unwrap()
            .remove(0)
    }

    #[test]
    fn certificate_is_renewed_when_a_third_of_its_life_is_left() {
        for days in [6, 90, 365] {
            let at_ms = renewal_ms(&certificate(days)) - NOW_MS;
            let life_ms = days * DAY_MS;
            let range = (life_ms * 19 / 30)..=(life_ms * 2 / 3);
            assert!(range.contains(&at_ms), "{days}: {at_ms}");
        }
    }

    #[test]
    fn pause_doubles_with_each_failure_up_to_a_day() {
        let random = system::random();
        let first = Duration::from_secs(900);
        for (failures, secs) in [
            (1, 900),
            (2, 1800),
            (4, 7200),
            (8, 86_400),
            (u32::MAX, 86_400),
        ] {
            let found = pause(first, failures, &*random).as_secs();
            assert!(
                (secs..=secs + secs / 10).contains(&found),
                "{failures}: {found}"
            );
        }
    }

    #[test]
    fn attempts_wait_after_failures_and_successes_unless_the_settings_were_changed() {
        let (settings, others) = (
            settings("https://ca.example/dir"),
            settings("https://other.example/dir"),
        );
        let state = AcmeState {
            fingerprint: settings.fingerprint(),
            next_attempt_ms: NOW_MS + 5,
            ..AcmeState::default()
        };
        assert_eq!(next_attempt_ms(&settings, &state, None, NOW_MS), NOW_MS + 5);
        assert_eq!(next_attempt_ms(&others, &state, None, NOW_MS), i64::MIN);
        let details = certificate(90);
        let issued = AcmeState {
            issued_for: settings.purpose(),
            ..state
        };
        let renewal = renewal_ms(&details);
        assert_eq!(
            next_attempt_ms(&settings, &issued, Some(&details), NOW_MS),
            renewal
        );
        // A certificate of another authority is replaced at once, one that is due waits for the pause.
        assert_eq!(
            next_attempt_ms(&others, &issued, Some(&details), NOW_MS),
            i64::MIN
        );
        let late = AcmeState {
            next_attempt_ms: renewal + 9,
            ..issued
        };
        assert_eq!(
            next_attempt_ms(&settings, &late, Some(&details), NOW_MS),
            renewal + 9
        );
        // An attempt that was made when the clock was years ahead keeps nothing from being renewed.
        let years_ahead = AcmeState {
            last_attempt_ms: renewal + 2_000 * DAY_MS,
            next_attempt_ms: renewal + 2_001 * DAY_MS,
            ..late
        };
        assert_eq!(
            next_attempt_ms(&settings, &years_ahead, Some(&details), NOW_MS),
            renewal
        );
    }
}
