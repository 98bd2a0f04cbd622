package baton.client

import kotlin.time.Duration.Companion.seconds

// Logins that have ended here: each is revoked at the server until the server has confirmed its end.

/**
 * Send the revocations that wait. None of their errors concerns the caller. Without [now], a revocation that was not
 * answered is sent again after half a minute at the earliest. Return false if one was given up: its key does not exist
 * any more, or it is too old.
 */
internal suspend fun revokeWaiting(core: Core, patience: Patience, now: Boolean = false): Boolean {
    if (!now && core.options.clock() < core.revokeAfter) return true
    return patience.wait(core.revoking.join(core.scope, Unit) { sendAll(core) }.second)
}

private suspend fun sendAll(core: Core): Boolean {
    var possible = true
    for (one in core.read().revocations) {
        if (one.token in core.refusedRevocations) continue
        val old = one.since > 0 && core.now() - one.since > REVOCATION_LIFE
        val signer = if (old) null else signerOf(core, one)
        if (signer == null) {
            possible = false
            forgetRevocation(core, one) // Its key does not exist any more: no request can revoke this login.
            continue
        }
        val form = formPlan("/oauth/revoke", mapOf("token" to one.token, "client_id" to core.clientId))
        try {
            val question = Question(Verb.REVOKE, true, { core.prepared(form, it, signer.signer) }, { true })
            val asked = ask(core, question, core.patience(REVOCATION.seconds))
            if (asked.step == Step.DONE) forgetRevocation(core, one)
            else core.refusedRevocations += one.token // Until the app starts again.
        } catch (_: KeyLost) {
            possible = false
            forgetRevocation(core, one)
        } catch (error: BatonException) {
            if (error !is Offline && error !is AnswerLost) throw error
            core.revokeAfter = core.options.clock() + REVOCATION_REST
            return possible
        }
    }
    return possible
}

/** The signer of a revocation, null for an unbound login. */
private class Signing(val signer: RequestSigner?)

/** Return how a revocation is signed, or null if its key is gone. */
private suspend fun signerOf(core: Core, one: Revocation): Signing? {
    if (one.keyId == null) return Signing(null)
    if (one.secret != null) return Signing(core.secretSigner(one.keyId, one.secret))
    val signer = (one.key ?: core.read().key)?.let { core.keySigner(it) }?.first
    return if (signer?.keyId == one.keyId) Signing(signer) else null
}

private suspend fun forgetRevocation(core: Core, done: Revocation) {
    core.update { now -> now.copy(revocations = now.revocations.filter { it.token != done.token }) }
    if (done.key != null) runCatching { guarded { core.keys.remove(done.key) } } // A key without a record does no harm.
}
