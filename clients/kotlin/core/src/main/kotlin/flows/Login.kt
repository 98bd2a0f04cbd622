package baton.client

import java.text.Normalizer
import kotlin.time.Duration

// Registration and login: one attempt for all repetitions, also after a restart.

internal class Entry(val verb: Verb, val email: String, val password: String, val deviceName: String, val mail: MailCode?, val deadline: Duration?)

/** Register or log in. [get] is for a credential of the platform, at [path]: it passes the options to the platform. */
internal suspend fun begin(core: Core, entry: Entry, path: String = "/${entry.verb.name.lowercase()}", get: AskPlatform? = null): Login {
    var patience = core.patience(entry.deadline)
    revokeWaiting(core, patience) // Rule 8: first, because the new login has another key.
    val verb = entry.verb.name.lowercase()
    val address = Normalizer.normalize(entry.email, Normalizer.Form.NFKC).trim().lowercase()
    var anew = false
    var byLast = entry.verb == Verb.LOGIN && core.binding == Binding.HMAC
    while (true) {
        val record = pendingFor(core, verb, address) // Rule 1: attempt and key are stored before they are sent.
        val (signer, device) = introduction(core, record, byLast)
        val client = mapOf("client_id" to core.clientId, "device" to (mapOf("name" to entry.deviceName) + device))
        val proof: Map<String, Any?>
        if (get == null) {
            val mail = entry.mail?.let { mapOf("mail_session" to it.session, "code" to it.code) }.orEmpty()
            proof = mapOf("email" to entry.email, "password" to entry.password) + mail
        } else {
            val read = having("options" to Kind.OBJECT)
            val options = byKey(core, "$path/options", client, read, entry.deadline, Introduction(signer, device))
            proof = mapOf("credential" to get(objectOf(options["options"])!!))
            patience = core.patience(entry.deadline) // The person's time for the gesture does not count.
        }
        val attempt = record.pending?.attempt.orEmpty()
        val facts: suspend () -> Facts = {
            val now = core.read()
            Facts(anew = anew, session = now.session != null && now.pending?.attempt != attempt)
        }
        val plan = Plan("POST", path, utf8(Json.write(proof + client)), fields = mapOf("idempotency-key" to quotedKey(attempt)))
        val question = Question(entry.verb, true, { core.prepared(plan, it, signer) }, firstTokens(core), facts = facts)
        val asked = ask(core, question, patience)
        asked.success?.let { return begun(core, it.value, record) }
        val refused = asked.refused
        if (asked.step == Step.RETURN_SESSION) return loginDone(core.session(), emptyMap())
        if (asked.step == Step.RETURN_STEP && refused != null) return stepAfter(core, refused, record)
        if (asked.step == Step.NEW_ATTEMPT) {
            anew = true // Another process has finished this login, or its lineage has ended.
            dropPending(core, attempt)
        } else if (byLast && signer != null && refused != null && refused.error in listOf("invalid_signature", "stale_signature")) {
            byLast = false // The server cannot verify the last secret any more. It is not needed to log in.
        } else {
            throw asked.error()
        }
    }
}

/** Store the attempt of a login, or keep that of the same login. Make the key of the device, if there is none. */
private suspend fun pendingFor(core: Core, kind: String, email: String): DeviceRecord {
    val binding = core.binding.name.lowercase()
    val fresh = Pending(kind, email, core.clientId, binding, randomName(), null)
    while (true) {
        val seen = core.read().key
        val made = if (core.binding == Binding.KEY && seen?.let { core.keySigner(it) } == null) newKey(core) else null
        val record = core.update { now ->
            val goesOn = now.pending?.run { this.email == email && clientId == core.clientId && this.binding == binding } == true
            val key = if (made != null && now.key?.data == seen?.data) made else now.key // Another process may have made one.
            now.copy(pending = if (goesOn) now.pending else fresh, key = key)
        }
        if (core.binding != Binding.KEY || record.key != null) return record
    }
}

internal suspend fun newKey(core: Core): StoredKey = guarded { core.keys.create() }.run { StoredKey(store, data, signer.jwk) }

/** The device in the request of a login: its signer, and the members of `device`. */
internal data class Introduction(val signer: RequestSigner?, val device: Map<String, Any?>)

internal suspend fun introduction(core: Core, record: DeviceRecord, byLast: Boolean): Introduction {
    if (core.binding == Binding.NONE) return Introduction(null, emptyMap())
    if (core.binding == Binding.HMAC) return Introduction(if (byLast) core.lastSigner(record) else null, mapOf("binding" to "hmac"))
    val (signer, jwk) = record.key?.let { core.keySigner(it) }
        ?: throw StorageUnavailable("The new key of the device cannot be opened. Log in again.")
    val forgetting = RequestSigner(signer.keyId) { message ->
        signer.signing(message) {
            core.update { now -> if (now.key == record.key) now.copy(key = null) else now }
            throw StorageUnavailable("The key of the device is lost. Log in again: the next login makes one.")
        }
    }
    return Introduction(forgetting, mapOf("public_key" to mapOf("crv" to jwk.crv, "kty" to jwk.kty, "x" to jwk.x, "y" to jwk.y)))
}

/** Only the answer to an HMAC login has a secret, once. */
internal fun firstTokens(core: Core): (Read.Ours) -> Map<String, Any?> {
    val always = arrayOf("access_token" to Kind.STRING, "expires_in" to Kind.NUMBER, "device_id" to Kind.STRING)
    return if (core.binding == Binding.HMAC) having(*always, "key_id" to Kind.STRING, "secret" to Kind.STRING) else having(*always)
}

/** Store the session of a finished login, if the storage still waits for it. */
internal suspend fun begun(core: Core, given: Map<String, Any?>, sent: DeviceRecord): LoginDone {
    val attempt = sent.pending?.attempt
    val own = if (core.binding == Binding.KEY) sent.key?.let { core.keySigner(it) }?.first?.keyId else null
    val empty = Session(given.text("device_id"), "", null, 0.0, "", own ?: given["key_id"] as? String, given["secret"] as? String)
    val session = born(core, given, null, empty)
    val record = core.update { now ->
        if (now.pending?.attempt == attempt) now.copy(session = session, pending = null, last = null, ended = null) else now
    }
    val stored = record.session?.takeIf { it.deviceId == session.deviceId }
    return loginDone(stored ?: throw NotLoggedIn("Another login on this storage overtook this one."), given)
}

internal fun loginDone(session: Session, given: Map<String, Any?>): LoginDone =
    LoginDone(session.deviceId, strings(given["recovery_codes"]), (given["recovery_codes_left"] as? Number)?.toLong())

/** Store the newest `auth_session`, before the step is returned. */
internal suspend fun stepAfter(core: Core, refused: Refused, sent: DeviceRecord): LoginStep {
    val problem = refused.problem
    val session = problem["auth_session"] as? String ?: throw refused
    val expiresAt = core.second() + ((problem["expires_in"] as? Number)?.toDouble() ?: 600.0)
    val factors = strings(problem["factors"])
    val enrol = strings(problem["enrol"])
    core.update { now ->
        val pending = now.pending
        if (pending == null || pending.attempt != sent.pending?.attempt) now
        else now.copy(pending = pending.copy(authSession = session, factors = factors, enrol = enrol, expiresAt = expiresAt))
    }
    return LoginStep(core, factors, enrol, expiresAt, problem)
}

internal suspend fun dropPending(core: Core, attempt: String?) {
    core.update { now -> if (now.pending?.attempt == attempt) now.copy(pending = null) else now }
}

internal suspend fun pendingStep(core: Core): LoginStep? {
    val pending = core.read().pending ?: return null
    if (pending.authSession == null || (pending.expiresAt ?: Double.POSITIVE_INFINITY) <= core.now()) return null
    return LoginStep(core, pending.factors.orEmpty(), pending.enrol.orEmpty(), pending.expiresAt ?: 0.0, emptyMap())
}
