//! AES-256-GCM with a nonce in front.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Bytes of a key.
pub(super) const KEY: usize = 32;
/// Bytes that an encrypted text is longer than a clear one.
pub(super) const MORE: usize = NONCE_LEN + 16;

/// Returns random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// Returns a key that is ready for use.
pub(super) fn ready(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("it has the length of a key"))
}

/// Encrypts: nonce, text, tag.
pub(super) fn encrypt(key: &[u8; KEY], about: &[u8], text: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = random();
    let mut sealed = Vec::with_capacity(text.len() + MORE);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(text);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = ready(key)
        .seal_in_place_separate_tag(nonce, Aad::from(about), &mut sealed[NONCE_LEN..])
        .expect("it is shorter than 64 GiB");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

/// Decrypts; `None` where it is not what was encrypted with this key.
pub(super) fn decrypt(key: &LessSafeKey, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    decrypt_into(key, about, sealed, &mut text)?;
    Some(text)
}

/// Decrypts `text` and appends the result.
pub(super) fn decrypt_into(
    key: &LessSafeKey,
    about: &[u8],
    sealed: &[u8],
    text: &mut Vec<u8>,
) -> Option<()> {
    let (nonce, encrypted) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let begin = text.len();
    text.extend_from_slice(encrypted);
    let length = key.open_in_place(nonce, Aad::from(about), &mut text[begin..]).ok()?.len();
    text.truncate(begin + length);
    Some(())
}
