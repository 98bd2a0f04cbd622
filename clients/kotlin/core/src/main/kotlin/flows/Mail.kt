package baton.client

import kotlin.time.Duration

// Requests without a token, signed by the key of the device: codes by mail, and the options of a login by passkey.

/** Send a code to an address. Return the mail session of the code. */
internal suspend fun mailCode(core: Core, path: String, email: String): String {
    val seen = core.read().key
    if (core.binding == Binding.KEY && seen?.let { core.keySigner(it) } == null) {
        val made = newKey(core)
        core.update { now -> if (now.key?.data == seen?.data) now.copy(key = made) else now }
    }
    val known = introduction(core, core.read(), false)
    val json = mapOf("email" to email, "client_id" to core.clientId, "device" to (mapOf("name" to "") + known.device))
    return byKey(core, path, json, having("mail_session" to Kind.STRING)).text("mail_session")
}

internal suspend fun <T> byKey(
    core: Core, path: String, json: Map<String, Any?>, read: (Read.Ours) -> T, deadline: Duration? = DEADLINE, given: Introduction? = null,
): T {
    val signer = (given ?: introduction(core, core.read(), false)).signer
    val plan = Plan("POST", path, utf8(Json.write(json)))
    val asked = ask(core, Question(Verb.TIME, true, { core.prepared(plan, it, signer) }, read), core.patience(deadline))
    return (asked.success ?: throw asked.error()).value
}
