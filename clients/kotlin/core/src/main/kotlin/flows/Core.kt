package baton.client

import java.util.Collections
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

internal class Plan(
    val method: String,
    val path: String,
    val body: ByteArray = ByteArray(0),
    val contentType: String? = null,
    val query: Map<String, String> = emptyMap(),
    val fields: Map<String, String> = emptyMap(),
    val team: Boolean = false,
)

internal class Prepared(val request: Request, val team: Boolean)

/** One piece of work at a time. Callers that come meanwhile share it. It outlives the caller that began it. */
internal class Shared<T : Any, R> {
    private class Running<T, R>(val name: T, val work: Deferred<R>)

    private var running: Running<T, R>? = null

    /** Return the name of the work and the work, and whether this caller began it. */
    fun join(scope: CoroutineScope, name: T, begin: suspend () -> R): Triple<T, Deferred<R>, Boolean> = synchronized(this) {
        running?.let { return Triple(it.name, it.work, false) }
        val mine = Running(name, scope.async { begin() })
        running = mine
        // Before any caller awaits it, so a caller that is resumed finds that it is over.
        mine.work.invokeOnCompletion { synchronized(this) { if (running === mine) running = null } }
        Triple(name, mine.work, true)
    }
}

/** What all flows share: the record, the key, the clock, and one sending of a signed request. */
internal class Core(
    baseUrl: String,
    val clientId: String,
    private val storage: Storage,
    val keys: DeviceKeys,
    private val transport: Transport,
    val options: Options,
) {
    val base = readBaseUrl(baseUrl, options.plainHttp)
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    val exchanging = Shared<String, Session>()
    val revoking = Shared<Unit, Boolean>()
    val refusedRevocations: MutableSet<String> = Collections.newSetFromMap(ConcurrentHashMap())
    val listeners = CopyOnWriteArrayList<(State) -> Unit>()

    @Volatile var offset = 0.0
    @Volatile var revokeAfter = 0.0
    private var told: State? = null

    val binding get() = options.binding

    fun now(): Double = options.clock() + offset

    fun second(): Double = Math.floor(now())

    fun patience(deadline: Duration?): Patience = Patience(options, deadline.inSeconds())

    // The record

    suspend fun read(): DeviceRecord = guarded { storage.read() }

    suspend fun session(): Session = sessionOf(read())

    /** Change the record. Listeners are told after it has changed. A caller that cancels does not stop this half-way. */
    suspend fun update(change: (DeviceRecord) -> DeviceRecord): DeviceRecord = withContext(NonCancellable) {
        val record = guarded {
            storage.update { now ->
                synchronized(listeners) { if (told == null) told = stateOf(now) } // What the app has seen until now.
                change(now)
            }
        }
        tell(stateOf(record))
        record
    }

    private fun tell(state: State) {
        synchronized(listeners) {
            if (state == told) return
            told = state
        }
        for (listener in listeners) {
            try {
                listener(state)
            } catch (error: Exception) {
                scope.launch { throw error } // It is an error of the app, for its handler. The login stays active.
            }
        }
    }

    // Keys

    /** Return the signer of a session, or null for an unbound one. A lost key ends the session (rule 6). */
    suspend fun signer(record: DeviceRecord): RequestSigner? {
        val session = sessionOf(record)
        if (session.keyId == null) return null
        if (session.secret != null) return secretSigner(session.keyId, session.secret)
        val signer = record.key?.let { keySigner(it) }?.first
        if (signer?.keyId != session.keyId) keyLost(session)
        return RequestSigner(signer.keyId) { message -> signer.signing(message) { keyLost(session) } }
    }

    private suspend fun keyLost(session: Session): Nothing {
        val at = second()
        update { now -> if (same(now.session, session)) withoutSession(now, "key_lost", at).copy(key = null) else now }
        throw LoggedOut("key_lost", false)
    }

    /** Open the key of the device. Null: it does not exist any more. Its signer throws [KeyLost]. */
    suspend fun keySigner(key: StoredKey): Pair<RequestSigner, PublicJwk>? {
        val signer = keyStore { keys.open(key) }
        if (signer == null || (key.jwk != null && key.jwk.x != signer.jwk.x)) return null
        return RequestSigner(thumbprint(signer.jwk)) { message -> keyStore { signer.sign(message) } } to signer.jwk
    }

    /** Use the key store. Its errors end no login: the work is tried twice again. */
    private suspend fun <T> keyStore(work: () -> T): T {
        val waits = listOf(0.2, 1.0).iterator()
        while (true) {
            try {
                return withContext(Dispatchers.IO) { work() }
            } catch (error: CancellationException) {
                throw error
            } catch (error: KeyLost) {
                throw error
            } catch (error: Exception) {
                if (!waits.hasNext()) throw StorageUnavailable("The key of the device cannot be used now.", error)
                options.sleep(waits.next())
            }
        }
    }

    fun secretSigner(keyId: String, secret: String): RequestSigner = RequestSigner(keyId) { hmac(unbase64(secret), it) }

    /** Return the signer of a login by the last HMAC secret, if there is one. */
    fun lastSigner(record: DeviceRecord): RequestSigner? = lastSecret(record)?.let { secretSigner(it.keyId, it.secret) }

    // Requests

    /** Build a request, signed with a fresh nonce. */
    suspend fun prepared(plan: Plan, created: Double, signer: RequestSigner?): Prepared {
        val encoded = encodeQuery(plan.query)
        val url = base.origin + base.prefix + plan.path + (if (encoded.isEmpty()) "" else "?$encoded")
        val accept = "application/json, application/problem+json" + (if (plan.team) ", */*;q=0.1" else "")
        val headers = linkedMapOf("accept" to accept, "cache-control" to "no-store")
        if (plan.body.isNotEmpty()) {
            headers["content-type"] = plan.contentType ?: "application/json"
            headers["content-digest"] = contentDigest(plan.body)
        }
        headers += plan.fields
        if (signer != null) headers += signatureFields(plan.method, url, headers, signer, created.toLong(), randomName())
        return Prepared(Request(plan.method, url, headers, plan.body.takeIf { it.isNotEmpty() }), plan.team)
    }

    /** Send once. Throw [NoAnswer] for an answer that is not Baton's (rule 9). */
    suspend fun send(prepared: Prepared, patience: Patience): Read.Ours {
        val request = prepared.request
        val before = options.clock()
        val raw = transport.send(request, Limits(maxOf(0.1, minOf(SENDING, patience.left())), ANSWER_BYTES))
        val read = when (val read = readAnswer(raw, request.url, request.method, prepared.team)) {
            is Read.Foreign -> throw NoAnswer("the answer is not Baton's: ${read.why}")
            is Read.Ours -> read
        }
        offset = newOffset(offset, before, options.clock(), serverTime(raw.headers, read.members))
        return read
    }
}

internal fun stateOf(record: DeviceRecord): State =
    record.session?.let { State.SignedIn(it.deviceId) } ?: State.SignedOut(record.ended?.reason, record.ended?.at)

internal fun sessionOf(record: DeviceRecord): Session = record.session ?: throw NotLoggedIn()

/** Run work that may block. An error of the storage ends no login. */
internal suspend fun <T> guarded(work: () -> T): T =
    try {
        withContext(Dispatchers.IO) { work() }
    } catch (error: BatonException) {
        throw error
    } catch (error: CancellationException) {
        throw error
    } catch (error: Exception) {
        throw StorageUnavailable("The storage cannot be used now. The login is kept: repeat the call.", error)
    }
