package baton.client

// The values of the client. No `toString` shows a secret.

public data class PublicJwk(val crv: String, val kty: String, val x: String, val y: String? = null)

/** A key of the device. [data] belongs to the key store named [store]. */
public data class StoredKey(val store: String, val data: String, val jwk: PublicJwk?) {
    override fun toString(): String = "StoredKey(store=$store)"
}

/**
 * One login. [renewal] is the token that is exchanged, or null if the login cannot be renewed. [expiresAt] is by the server's clock.
 * [attempt] belongs to the exchange of this token, and was made with it (rule 1). [keyId] is null for an unbound login.
 */
public data class Session(
    val deviceId: String,
    val accessToken: String,
    val renewal: String?,
    val expiresAt: Double,
    val attempt: String,
    val keyId: String?,
    val secret: String?,
) {
    override fun toString(): String = "Session(deviceId=$deviceId, expiresAt=$expiresAt)"
}

/** A login in progress: its attempt is stored before it is sent (rule 1). [authSession] is that of a login that needs a factor. */
public data class Pending(
    val kind: String,
    val email: String,
    val clientId: String,
    val binding: String,
    val attempt: String,
    val authSession: String?,
    val factors: List<String>? = null,
    val enrol: List<String>? = null,
    val expiresAt: Double? = null,
) {
    override fun toString(): String = "Pending(kind=$kind)"
}

/** A login that has ended on this device, until the server has confirmed its end. [key]: the record lacks it now. */
public data class Revocation(val token: String, val keyId: String?, val secret: String?, val since: Double, val key: StoredKey? = null) {
    override fun toString(): String = "Revocation(since=$since)"
}

/** The secret of the last HMAC login: it signs the next login. */
public data class LastSecret(val keyId: String, val secret: String) {
    override fun toString(): String = "LastSecret(keyId=$keyId)"
}

/** Why and when the last login has ended. */
public data class Ended(val reason: String?, val at: Double)

/** All that a device stores. It is replaced as a whole. */
public data class DeviceRecord(
    val session: Session? = null,
    val key: StoredKey? = null,
    val pending: Pending? = null,
    val last: LastSecret? = null,
    val revocations: List<Revocation> = emptyList(),
    val ended: Ended? = null,
)

/** Where the record is. Its functions may block: the client calls them on threads for that. */
public interface Storage {
    /** Read the record. Throw if it cannot be read now: an empty record means that there is no login. */
    public fun read(): DeviceRecord

    /** Replace the record: atomic, durable, and exclusive among processes. [change] is quick, and may be called again. */
    public fun update(change: (DeviceRecord) -> DeviceRecord): DeviceRecord
}

/** Signs by P-256 with SHA-256: 64 bytes, r and s. */
public interface Signer {
    public val jwk: PublicJwk

    /** Throw [KeyLost] only if the key is permanently lost. Any other error counts as temporary. */
    public fun sign(message: ByteArray): ByteArray
}

/** A new key: what the record keeps of it, and its signer. */
public class CreatedKey(public val store: String, public val data: String, public val signer: Signer)

/** The keys of the device. The functions may block. An error that they throw ends no login. */
public interface DeviceKeys {
    /** Make a key, before a record names it. */
    public fun create(): CreatedKey

    /** Open a key. Null: the key is permanently lost. */
    public fun open(key: StoredKey): Signer?

    public fun remove(key: StoredKey)
}

/** A request. The names of its headers are in lower case. */
public class Request(public val method: String, public val url: String, public val headers: Map<String, String>, public val body: ByteArray?) {
    override fun toString(): String = "Request($method $url)"
}

/** What a transport received. [url] is the one that answered, if the platform follows redirects. */
public class RawAnswer(public val status: Int, public val headers: Map<String, String>, public val bytes: ByteArray, public val url: String? = null)

/** The time for a request, its answer included, in seconds, and the largest body. */
public class Limits(public val timeout: Double, public val bytes: Int)

/** Sends one request. It throws [NoAnswer]. It follows no redirect, and keeps no cookies and no cache. */
public fun interface Transport {
    public suspend fun send(request: Request, limits: Limits): RawAnswer
}

public sealed interface State {
    public data class SignedIn(val deviceId: String) : State

    /** [reason] and [at]: why and when the last login has ended, if known. */
    public data class SignedOut(val reason: String?, val at: Double?) : State
}

/** A proof of the person: one of its members. [passkey] is the answer of the platform. */
public class Proof(
    public val password: String? = null,
    public val totp: String? = null,
    public val passkey: Map<String, Any?>? = null,
    public val recoveryCode: String? = null,
    public val emailCode: String? = null,
) {
    internal fun members(): Map<String, Any?> =
        mapOf("password" to password, "totp" to totp, "passkey" to passkey, "recovery_code" to recoveryCode, "email_code" to emailCode)
            .filterValues { it != null }

    override fun toString(): String = "Proof(${members().keys.joinToString()})"
}

/** A route requires a step-up. `refused.problem["factors"]` lists the factors to prove, [options] are those of a passkey. */
public class Demand internal constructor(public val refused: Refused, private val ask: suspend () -> Map<String, Any?>) {
    public suspend fun options(): Map<String, Any?> = ask()
}

/** Asks the person for a proof. It is called only if a route requires a proof. */
public typealias Confirm = suspend (Demand) -> Proof

/** Passes the options of a credential to the platform, and returns its answer as JSON: see [Json]. */
public typealias AskPlatform = suspend (options: Map<String, Any?>) -> Map<String, Any?>

/** A code from the mailbox of an address, for [Baton.register]. */
public class MailCode(public val session: String, public val code: String)

/** A finished login, or the step that it waits for: a [LoginDone] or a [LoginStep]. */
public sealed interface Login

public class LoginDone internal constructor(
    public val deviceId: String,
    public val recoveryCodes: List<String>,
    public val recoveryCodesLeft: Long?,
) : Login {
    override fun toString(): String = "LoginDone(deviceId=$deviceId)"
}

/**
 * `confirmed` is false if the server has not answered yet. The revocation is stored and sent again. `confirmed` is also
 * false if the key of the login does not exist any more: then no request can revoke the login.
 */
public class LogoutResult internal constructor(public val confirmed: Boolean) {
    override fun toString(): String = "LogoutResult(confirmed=$confirmed)"
}

public enum class Binding { KEY, HMAC, NONE }

/** [plainHttp] accepts `http` to any host, for an emulator. [clock] is in seconds, and may be wrong. */
public class Options(
    public val binding: Binding = Binding.KEY,
    public val plainHttp: Boolean = false,
    public val clock: () -> Double = { System.currentTimeMillis() / 1000.0 },
    public val sleep: suspend (seconds: Double) -> Unit = { kotlinx.coroutines.delay((it * 1000).toLong()) },
    public val random: () -> Double = Math::random,
)
