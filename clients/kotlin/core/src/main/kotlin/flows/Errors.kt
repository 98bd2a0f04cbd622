package baton.client

/** An error of this client. [kind] is the same string in every language. */
public sealed class BatonException(public val kind: String, message: String, cause: Throwable? = null) : Exception(message, cause)

/** The storage has no login, or a login in progress can no longer be finished: show the login screen. */
public open class NotLoggedIn internal constructor(message: String = "This device has no login: log in.", kind: String = "not_logged_in") :
    BatonException(kind, message)

/**
 * The login has ended, and the client has removed it from the storage.
 * [confirmed] is false if the server has not yet confirmed the end.
 */
public class LoggedOut internal constructor(public val reason: String?, public val confirmed: Boolean = true) :
    NotLoggedIn("This login has ended (${reason ?: "no reason given"}). Log in again.", "logged_out")

/** There was no answer in time. The login is kept, and the next call continues. [last] describes the last failure. */
public class Offline internal constructor(public val last: String) :
    BatonException("offline", "No answer in time. The login is kept. Last problem: $last")

/** The call was sent, and its outcome is unknown. Check it before a repetition. The login is kept. */
public class AnswerLost internal constructor(public val last: String, refusal: Refused? = null) :
    BatonException("answer_lost", "The call may have been carried out, or not: $last", refusal)

/** The record or the key cannot be used now. The login is kept: repeat the call. */
public class StorageUnavailable(message: String, cause: Throwable? = null) : BatonException("storage_unavailable", message, cause)

/** The record cannot be parsed, or a newer client wrote it. It was not changed. */
public class BrokenStorage(message: String) : BatonException("broken_storage", message)

/** The server returned an error. Switch on [code]: errors.md lists the codes. [problem] has all members of the answer. */
public class Refused internal constructor(refusal: Refusal) : BatonException("refused", told(refusal)) {
    public val status: Int = refusal.status
    public val error: String = refusal.error
    public val code: String = refusal.code
    public val action: String = refusal.action
    public val reason: String? = refusal.reason
    public val retryAfter: Double = refusal.retryAfter
    public val problem: Map<String, Any?> = refusal.problem

    private companion object {
        fun told(refusal: Refusal): String {
            val detail = refusal.problem["detail"] ?: refusal.problem["error_description"] ?: "the server gave no explanation"
            val quotable = (refusal.problem["request_id"] as? String)?.let { " [request $it]" }.orEmpty()
            return "${refusal.status} ${refusal.code} (${refusal.action}): $detail$quotable"
        }
    }
}

/** A [Signer] throws this if the platform reports that the key is permanently lost. */
public class KeyLost(cause: Throwable? = null) : Exception("The key of the device is lost.", cause)

/** A transport throws this if there is no answer. [sent]: the request may have arrived. */
public class NoAnswer(message: String, public val sent: Boolean = true, cause: Throwable? = null) : Exception(message, cause)
