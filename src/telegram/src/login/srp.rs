//! The proof of the cloud password (SRP, core.telegram.org/api/srp): grammers computes, the checks before it are ours.

use grammers_crypto::two_factor_auth::calculate_2fa;
use grammers_tl_types as tl;
use model::Secret;
use rand::RngCore;

use crate::dh::DhConfig;
use crate::rpc::Rpc;

/// Returns the request that proves the password; `None` when the parameters are unknown or not safe.
pub(super) fn prove(
    parameters: &tl::types::account::Password,
    password: &Secret<String>,
    rng: &mut impl RngCore,
) -> Option<Rpc> {
    use tl::enums::PasswordKdfAlgo as Algo;
    let Some(Algo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow(algo)) =
        &parameters.current_algo
    else {
        return None;
    };
    let (srp_id, srp_b) = parameters.srp_id.zip(parameters.srp_b.clone())?;
    let group = DhConfig::check(algo.g, &algo.p, 0, rng).ok()?;
    // The crate's padding takes no more than 256 bytes.
    if algo.p.len() != 256 || !group.accepts(&srp_b) {
        return None;
    }
    let mut secret = vec![0; 256];
    rng.fill_bytes(&mut secret);
    let (m1, a) = calculate_2fa(
        &algo.salt1,
        &algo.salt2,
        &algo.p,
        &algo.g,
        srp_b,
        secret,
        password.expose(),
    );
    Some(Rpc::CheckPassword {
        srp_id,
        a: a.to_vec(),
        m1: m1.to_vec(),
    })
}
