package baton.client

import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.flow

/**
 * One device of one person at one Baton server. It is safe among threads. A caller that is cancelled cancels no other caller.
 * Errors are [BatonException]; an [IllegalArgumentException] is an error of the program, before anything is sent.
 */
public class Baton(
    baseUrl: String,
    clientId: String,
    storage: Storage,
    keys: DeviceKeys,
    transport: Transport,
    options: Options = Options(),
) : AutoCloseable {
    private val core = Core(baseUrl, clientId, storage, keys, transport, options)

    // Logins

    /** Create an account and log in. It is safe to repeat this after [Offline] or a restart. */
    public suspend fun register(email: String, password: String, deviceName: String, mail: MailCode? = null, deadline: Duration? = DEADLINE): Login =
        begin(core, Entry(Verb.REGISTER, email, password, deviceName, mail, deadline))

    /** Log in. It is safe to repeat this after [Offline] or a restart. */
    public suspend fun login(email: String, password: String, deviceName: String, deadline: Duration? = DEADLINE): Login =
        begin(core, Entry(Verb.LOGIN, email, password, deviceName, null, deadline))

    /** Log in with only a passkey. [get] passes the options to the platform, and returns its answer. */
    public suspend fun loginWithPasskey(deviceName: String, deadline: Duration? = DEADLINE, get: AskPlatform): Login =
        begin(core, Entry(Verb.LOGIN, "", "", deviceName, null, deadline), "/login/passkey", get)

    /**
     * Restore a login on this new phone. [get] passes the options to the platform, for the restore key of the old phone.
     * After [Refused], let the person log in. If its code is `unknown_passkey`, let the platform clear the restore key.
     */
    public suspend fun restore(deviceName: String, deadline: Duration? = DEADLINE, get: AskPlatform): Login =
        begin(core, Entry(Verb.LOGIN, "", "", deviceName, null, deadline), "/login/restore", get)

    /** Return the step of a login that waits for a second factor, also after a restart, or null. */
    public suspend fun pendingStep(): LoginStep? = pendingStep(core)

    /**
     * End this login. The person is signed out here in one write, before anything is sent. Then one request within 10 s
     * informs the server. If the server has not answered, the record keeps the revocation, and later calls send it again.
     */
    public suspend fun logout(): LogoutResult {
        val at = core.second()
        core.update { now -> revoked(now, "logout", at) }
        val possible = try {
            revokeWaiting(core, core.patience(REVOCATION.seconds), now = true)
        } catch (error: CancellationException) {
            throw error
        } catch (_: Exception) {
            false // The revocation is stored, and sent again.
        }
        return LogoutResult(possible && core.read().revocations.isEmpty())
    }

    /** Delete the login on this device without a request. */
    public suspend fun forget() {
        core.update { now -> withoutSession(now, null, 0.0) }
    }

    // Mail: keep the mail session that these functions return in memory.

    /** Send a code to an address, for [register]. Return the mail session of the code. */
    public suspend fun startRegistration(email: String): String = mailCode(core, "/register/start", email)

    /** Send a code to an address, if an account has it, for [resetPassword]. Return the mail session of the code. */
    public suspend fun forgotPassword(email: String): String = mailCode(core, "/password/forgot", email)

    /** Set a new password with the code of the mail. Every login of the account ends: log in next. */
    public suspend fun resetPassword(session: String, code: String, newPassword: String): Unit =
        byKey(core, "/password/reset", mapOf("mail_session" to session, "code" to code, "new_password" to newPassword), {})

    // Calls

    /**
     * Send a signed call to a route of the app. Return its 2xx answer, or throw. [json] is a value of [Json]. [confirm] is
     * called if the route requires a step-up. A call with an [idempotencyKey], which the app stores with its intent, is
     * repeated until it is answered, and so is one with [repeat]: two executions do no harm. A null [deadline] is none.
     */
    public suspend fun call(
        method: String,
        path: String,
        json: Any? = null,
        body: ByteArray? = null,
        contentType: String? = null,
        query: Map<String, String> = emptyMap(),
        grant: String? = null,
        idempotencyKey: String? = null,
        repeat: Boolean? = null,
        deadline: Duration? = DEADLINE,
        confirm: Confirm? = null,
    ): Answer {
        val options = CallOptions(json, body, contentType, query, grant, confirm, idempotencyKey, repeat, deadline)
        return call(core, method, path, options, { it.answer }, true)
    }

    /** Return a grant for one exact request. */
    public suspend fun stepUp(proof: Proof, method: String, path: String, json: Any? = null, body: ByteArray? = null): String =
        stepUp(core, proof, method, path, bodyOf(json, body), randomName())

    /** Read the account and this device. */
    public suspend fun me(deadline: Duration? = DEADLINE): Map<String, Any?> =
        call(core, "GET", "/me", CallOptions(deadline = deadline), having("device_id" to Kind.STRING), false)

    /** List the logins of the account. */
    public suspend fun devices(): List<Map<String, Any?>> {
        val answer = call(core, "GET", "/me/devices", CallOptions(), having("devices" to Kind.LIST), false)
        return (answer["devices"] as List<*>).mapNotNull(::objectOf)
    }

    /** End the login of a device. */
    public suspend fun endDevice(deviceId: String, confirm: Confirm): Unit =
        own("DELETE", "/me/devices/${percentEncoded(deviceId)}", CallOptions(confirm = confirm, repeat = true))

    /** Change the password, and log out every other device. After [AnswerLost], either password may be valid. */
    public suspend fun changePassword(newPassword: String, confirm: Confirm): Unit =
        own("POST", "/me/password", CallOptions(json = mapOf("new_password" to newPassword), confirm = confirm))

    /**
     * End the logins of all devices. After [Offline] it is safe to call this again. After [LoggedOut], this login had
     * ended before, maybe by the call that was [Offline]. If not, other logins may still be active.
     */
    public suspend fun logoutEverywhere(confirm: Confirm): Unit = ending {
        var granted = false
        val json = mapOf("everywhere" to true)
        try {
            own("POST", "/logout", CallOptions(json = json, confirm = confirm, repeat = true, granted = { granted = true }))
        } catch (over: LoggedOut) {
            // A repetition finds the login ended by the first sending, whose answer was lost. With a grant, the login was
            // active during this call. Without one, it ended before, and other logins may be newer.
            if (!granted || !over.confirmed || over.reason != "ended_everywhere") throw over
        }
    }

    /** Delete the account. */
    public suspend fun deleteAccount(confirm: Confirm): Unit = ending(known = false) { own("DELETE", "/me", CallOptions(confirm = confirm)) }

    // Restore: docs/baton/restore.md

    /**
     * Keep a restore key of this device, right after a login. [create] passes the options to the platform. The app may
     * ignore the errors of this method. A login that is older than five minutes needs [confirm].
     */
    public suspend fun keepRestoreKey(confirm: Confirm? = null, create: AskPlatform) {
        val read = having("options" to Kind.OBJECT)
        val given = call(core, "POST", "/me/restore-key/options", CallOptions(confirm = confirm, repeat = true), read, false)
        val credential = create(objectOf(given["options"])!!)
        own("PUT", "/me/restore-key", CallOptions(json = mapOf("credential" to credential), confirm = confirm, repeat = true))
    }

    /** Delete the restore key of this device. A logout ends it too. Then let the platform clear it. */
    public suspend fun forgetRestoreKey(): Unit = own("DELETE", "/me/restore-key", CallOptions(repeat = true))

    // State and time

    public suspend fun state(): State = stateOf(core.read())

    /** Tell a listener each new state that this client causes. Close the returned object to remove the listener. */
    public fun onState(listener: (State) -> Unit): AutoCloseable {
        core.listeners += listener
        return AutoCloseable { core.listeners -= listener }
    }

    /** The state, and each new one that this client causes. */
    public fun states(): Flow<State> = flow {
        val changed = Channel<Unit>(Channel.CONFLATED)
        onState { changed.trySend(Unit) }.use {
            emit(state())
            for (tick in changed) emit(state())
        }
    }.distinctUntilChanged()

    /** Return the server's time, in seconds, by the clock of this device and its known offset. */
    public fun now(): Double = core.now()

    /** Read the server's time. Return the offset in seconds. */
    public suspend fun syncClock(): Double {
        val read = { ours: Read.Ours ->
            if (serverTime(ours.answer.headers, ours.members) == null) throw NoAnswer("the answer has no time")
        }
        val question = Question(Verb.TIME, true, { core.prepared(Plan("GET", "/time"), it, null) }, read)
        val asked = ask(core, question, core.patience(DEADLINE))
        return if (asked.success == null) throw asked.error() else core.offset
    }

    /** End the work of this client that outlives its callers. The record stays, and a new client goes on with it. */
    override fun close(): Unit = core.scope.cancel()

    private suspend fun own(method: String, path: String, o: CallOptions): Unit = call(core, method, path, o, {}, false)

    /** Drop the login that an answer has ended. A login that replaced it meanwhile stays. */
    private suspend fun ending(known: Boolean = true, work: suspend () -> Unit) {
        val ended = core.read().session?.deviceId
        work()
        core.update { now ->
            if (now.session?.deviceId != ended) return@update now
            val left = withoutSession(now, null, 0.0)
            if (known) left else left.copy(last = null) // No account is left that would recognise this secret.
        }
    }

    override fun toString(): String = "Baton(${core.base.origin})"

    public companion object {
        /** Make an idempotency key of 128 bits. The app stores it with its intent, before the call. */
        public fun newIdempotencyKey(): String = randomName()
    }
}
