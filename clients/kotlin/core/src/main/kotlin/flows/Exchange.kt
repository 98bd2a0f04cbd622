package baton.client

// The exchange of a token for its child: one in flight per process, and the record decides among processes.

/** Exchange the token if it has expired (rule 7). At most twice: a child that arrived late may have expired too. */
internal suspend fun usable(core: Core, patience: Patience) {
    revokeWaiting(core, patience)
    repeat(2) {
        val session = core.session()
        if (session.renewal == null || core.now() < session.expiresAt - EARLY) return
        exchange(core, session, patience)
    }
}

/** Exchange [parent], or wait for the exchange that another caller has begun. It outlives the caller that began it. */
internal suspend fun exchange(core: Core, parent: Session, patience: Patience): Session {
    while (true) {
        val standing = core.session()
        if (!same(standing, parent)) return standing
        val left = patience.left()
        val (attempt, child, mine) = core.exchanging.join(core.scope, parent.attempt) { fly(core, parent, Patience(core.options, left)) }
        try {
            val found = patience.wait(child)
            if (attempt == parent.attempt) return found
        } catch (error: Offline) {
            if (mine || patience.left() <= MOMENT) throw error // Another caller had less time than this one.
        }
    }
}

private suspend fun fly(core: Core, parent: Session, patience: Patience): Session {
    var superseded = 0
    while (true) {
        val before = superseded++
        val facts: suspend () -> Facts = { Facts(moved = !same(core.read().session, parent), superseded = before) }
        val asked = ask(core, Question(Verb.EXCHANGE, true, { exchangeRequest(core, parent, it) }, tokens, facts = facts), patience)
        asked.success?.let {
            val child = born(core, it.value, parent, parent.copy())
            // Rules 3 and 4: stored if the parent is still stored, and used only after that.
            return sessionOf(core.update { now -> if (same(now.session, parent)) now.copy(session = child) else now })
        }
        when (asked.step) {
            Step.READ_STORAGE -> return core.session()
            Step.RULE_8 -> return afterCopy(core, parent, patience)
            Step.LOGGED_OUT -> return sessionAfter(core, asked.refused!!, parent)
            Step.ASK_AGAIN -> patience.pause(MOMENT)
            else -> throw asked.error()
        }
    }
}

private suspend fun exchangeRequest(core: Core, parent: Session, created: Double): Prepared? {
    val record = core.read() // Rule 2: after `created` was taken, before every request.
    val token = parent.renewal
    if (!same(record.session, parent) || token == null) return null
    val form = mapOf("grant_type" to "refresh_token", "refresh_token" to token, "client_id" to core.clientId)
    val plan = formPlan("/oauth/token", form, mapOf("idempotency-key" to quotedKey(parent.attempt)))
    return core.prepared(plan, created, core.signer(record))
}

internal fun formPlan(path: String, form: Map<String, String>, fields: Map<String, String> = emptyMap()) =
    Plan("POST", path, utf8(encodeQuery(form)), "application/x-www-form-urlencoded", fields = fields)

/** Return [session] with the members that every generation has, and with a new attempt for its exchange (rule 1). */
internal fun born(core: Core, given: Map<String, Any?>, parent: Session?, session: Session): Session {
    val token = given.text("access_token")
    val kept = if (parent == null || parent.renewal == parent.accessToken) token.takeIf { parent != null } else parent.renewal
    return session.copy(
        accessToken = token,
        renewal = given["refresh_token"] as? String ?: kept,
        expiresAt = (seconds(given["server_time"]) ?: core.second()) + given.number("expires_in"),
        attempt = randomName(),
    )
}

/**
 * Act on a second `superseded` (rule 8). Only a process that stored generation g+1 can have exchanged it (rule 4). The
 * storage still has g, so that process has another copy of this record. Revoke the login, and use a new key.
 */
private suspend fun afterCopy(core: Core, parent: Session, patience: Patience): Session {
    val at = core.second()
    val record = core.update { now -> if (same(now.session, parent)) revoked(now, "reuse", at) else now }
    record.session?.let { return it }
    fun waits(now: DeviceRecord) = now.revocations.any { it.token == parent.renewal }
    if (!waits(record)) throw NotLoggedIn("Another process has ended this session.")
    revokeWaiting(core, patience, now = true)
    throw LoggedOut("reuse", !waits(core.read()))
}

/** Act on the end of the session itself (rule 6). Return the newer session of another process, or throw [LoggedOut]. */
internal suspend fun sessionAfter(core: Core, refused: Refused, used: Session): Session {
    val reason = if (refused.code == "token_reused") "reuse" else refused.reason ?: refused.code
    val at = core.second()
    val record = core.update { now -> if (same(now.session, used)) withoutSession(now, reason, at) else now }
    return record.session ?: throw LoggedOut(reason)
}
