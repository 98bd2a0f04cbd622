package baton.client.jvm

import baton.client.Limits
import baton.client.NoAnswer
import baton.client.RawAnswer
import baton.client.Request
import baton.client.Transport
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.net.ConnectException
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.ByteBuffer
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionException
import java.util.concurrent.CompletionStage
import java.util.concurrent.Flow
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException
import kotlinx.coroutines.suspendCancellableCoroutine
import kotlinx.coroutines.withTimeoutOrNull

/**
 * Sends by the HTTP client of the JDK: HTTP/1.1, without redirects, cookies and caches, and with one time limit for head
 * and body. A cancelled caller closes its connection.
 */
public class JdkTransport(private val client: HttpClient = usual()) : Transport {
    override suspend fun send(request: Request, limits: Limits): RawAnswer {
        val body = request.body?.let { HttpRequest.BodyPublishers.ofByteArray(it) } ?: HttpRequest.BodyPublishers.noBody()
        val built = HttpRequest.newBuilder(URI.create(request.url)).method(request.method, body)
        for ((name, value) in request.headers) built.setHeader(name, value)
        val answer = try {
            withTimeoutOrNull((limits.timeout * 1000).toLong()) { answered(client.sendAsync(built.build()) { Limited(limits.bytes) }) }
        } catch (error: IOException) {
            throw notAnswered(error)
        }
        if (answer == null) throw NoAnswer("no answer in time")
        val headers = answer.headers().map().entries.associate { (name, values) -> name.lowercase() to values.joinToString(", ") }
        return RawAnswer(answer.statusCode(), headers, answer.body())
    }

    /** Wait for an answer. Only `cancel(true)` closes the connection: `await` of the coroutines cancels without it. */
    private suspend fun <T> answered(sending: CompletableFuture<T>): T = suspendCancellableCoroutine { caller ->
        sending.whenComplete { answer, error ->
            if (error == null) caller.resume(answer) else caller.resumeWithException((error as? CompletionException)?.cause ?: error)
        }
        caller.invokeOnCancellation { sending.cancel(true) }
    }

    /** Only a connection that was refused, or a name that was not found, is certainly not sent. */
    private fun notAnswered(error: IOException): NoAnswer {
        val tooLong = generateSequence<Throwable>(error) { it.cause }.any { it is TooLong }
        return if (tooLong) NoAnswer("the answer is too long") else NoAnswer(error.toString(), error !is ConnectException, error)
    }

    private class TooLong : IOException()

    /** Reads a body of at most this number of bytes. */
    private class Limited(private val most: Int) : HttpResponse.BodySubscriber<ByteArray> {
        private val whole = CompletableFuture<ByteArray>()
        private val bytes = ByteArrayOutputStream()
        private var subscription: Flow.Subscription? = null

        override fun getBody(): CompletionStage<ByteArray> = whole

        override fun onSubscribe(given: Flow.Subscription) {
            subscription = given
            given.request(Long.MAX_VALUE)
        }

        override fun onNext(parts: List<ByteBuffer>) {
            for (part in parts) {
                if (bytes.size() + part.remaining() > most) {
                    subscription?.cancel()
                    whole.completeExceptionally(TooLong())
                    return
                }
                bytes.write(ByteArray(part.remaining()).also(part::get))
            }
        }

        override fun onError(error: Throwable) {
            whole.completeExceptionally(error)
        }

        override fun onComplete() {
            whole.complete(bytes.toByteArray())
        }
    }

    private companion object {
        fun usual(): HttpClient = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).followRedirects(HttpClient.Redirect.NEVER).build()
    }
}
