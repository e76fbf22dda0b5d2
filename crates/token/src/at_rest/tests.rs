use super::*;
use personium_types::SystemRandom;

const SALT: &str = "a salt";
const OWNER: &[u8] = b"a cell";

fn key() -> BodyKey {
    BodyKey::from_bytes([7; KEY_BYTES])
}

fn cipher() -> BodyCipher {
    key().cipher(SALT, OWNER).unwrap()
}

/// A body in which no two chunks are equal.
fn body(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap())
        .collect()
}

const LENGTHS: [usize; 8] = [
    0,
    1,
    1000,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    3 * CHUNK_BYTES,
    3 * CHUNK_BYTES + 77,
];

#[test]
fn sealed_body_opens_and_has_the_computed_length() {
    for len in LENGTHS {
        let body = body(len);
        let sealed = cipher().seal(&body).unwrap();
        assert_eq!(sealed.len() as u64, sealed_len(len as u64), "{len}");
        assert!(len < 16 || !sealed.windows(16).any(|part| part == &body[..16]));
        assert_eq!(cipher().open(sealed).unwrap(), body, "{len}");
    }
}

#[test]
fn sizes_of_parts_do_not_change_the_sealed_body() {
    let body = body(3 * CHUNK_BYTES + 77);
    let whole = cipher().seal(&body).unwrap();
    for size in [1000, CHUNK_BYTES, CHUNK_BYTES + 1, body.len()] {
        let mut sealer = BodySealer::new(cipher());
        let mut sealed = Vec::new();
        for part in body.chunks(size) {
            sealed.append(&mut sealer.push(part).unwrap());
        }
        sealed.append(&mut sealer.finish().unwrap());
        assert_eq!(sealed, whole, "{size}");
    }
}

#[test]
fn any_range_is_opened_without_the_rest() {
    for len in LENGTHS {
        let body = body(len);
        let sealed = cipher().seal(&body).unwrap();
        let edges = [
            0,
            1,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            2 * CHUNK_BYTES,
        ];
        for offset in edges.into_iter().chain(LENGTHS).filter(|at| *at <= len) {
            for wanted in edges.into_iter().filter(|wanted| offset + wanted <= len) {
                let part = sealed_range(len as u64, offset as u64, wanted);
                let part = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
                if offset == len {
                    continue;
                }
                assert!(part.len() <= wanted + 2 * SEALED_CHUNK_BYTES);
                let opened =
                    cipher().open_range(len as u64, offset as u64, wanted, sealed[part].to_vec());
                assert_eq!(opened.unwrap(), body[offset..offset + wanted]);
            }
        }
    }
}

#[test]
fn altered_bodies_are_refused() {
    let body = body(3 * CHUNK_BYTES + 77);
    let sealed = cipher().seal(&body).unwrap();
    for at in [
        0,
        100,
        SEALED_CHUNK_BYTES - 1,
        SEALED_CHUNK_BYTES,
        sealed.len() - 1,
    ] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(cipher().open(altered), Err(CipherError), "{at}");
    }
    // a chunk less, a part of one less, two exchanged, one twice
    let chunk = |n: usize| sealed[n * SEALED_CHUNK_BYTES..][..SEALED_CHUNK_BYTES].to_vec();
    let rest = sealed[3 * SEALED_CHUNK_BYTES..].to_vec();
    for parts in [
        vec![chunk(0), chunk(1), chunk(2)],
        vec![
            chunk(0),
            chunk(1),
            chunk(2),
            rest[..rest.len() - 1].to_vec(),
        ],
        vec![chunk(1), chunk(0), chunk(2), rest.clone()],
        vec![chunk(0), chunk(1), chunk(1), chunk(2), rest.clone()],
        vec![rest],
        vec![],
    ] {
        assert_eq!(cipher().open(parts.concat()), Err(CipherError));
    }
    assert_eq!(cipher().open(vec![0; TAG_BYTES - 1]), Err(CipherError));
}

#[test]
fn body_opens_only_with_its_key_salt_and_owner() {
    let sealed = cipher().seal(b"content").unwrap();
    let other_key = BodyKey::from_bytes([8; KEY_BYTES]);
    for other in [
        other_key.cipher(SALT, OWNER),
        key().cipher("another salt", OWNER),
        key().cipher(SALT, b"another cell"),
    ] {
        assert_eq!(other.unwrap().open(sealed.clone()), Err(CipherError));
    }
}

#[expect(clippy::disallowed_methods, reason = "the real randomness is tested")]
#[test]
fn keys_and_salts_are_random() {
    let random = &SystemRandom::new();
    assert_ne!(new_salt(random).unwrap(), new_salt(random).unwrap());
    let (a, b) = (
        BodyKey::generate(random).unwrap(),
        BodyKey::generate(random).unwrap(),
    );
    assert_ne!(a.as_bytes(), b.as_bytes());
    assert_eq!(format!("{a:?}"), "BodyKey(***)");
}
