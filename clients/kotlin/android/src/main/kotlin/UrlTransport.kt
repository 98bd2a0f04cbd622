package baton.client.android

import baton.client.Limits
import baton.client.NoAnswer
import baton.client.RawAnswer
import baton.client.Request
import baton.client.Transport
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.io.InputStream
import java.net.ConnectException
import java.net.HttpURLConnection
import java.net.URL
import java.net.UnknownHostException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull

private val WITHOUT_BODY = listOf("GET", "HEAD", "OPTIONS")

/**
 * Sends by `HttpURLConnection`: without redirects and caches, and with one time limit for head and body. A caller that
 * cancels closes its connection.
 *
 * Every request with an unsafe method has a body of a stated length, because the platform does not send such a request
 * again. It repeats any other POST whose connection was dropped.
 */
public class UrlTransport(private val open: (URL) -> HttpURLConnection = { it.openConnection() as HttpURLConnection }) : Transport {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)

    override suspend fun send(request: Request, limits: Limits): RawAnswer {
        val milliseconds = (limits.timeout * 1000).toLong()
        val connection = open(URL(request.url))
        val work = scope.async { exchanged(connection, request, milliseconds.toInt(), limits.bytes) }
        try {
            return withTimeoutOrNull(milliseconds) { work.await() } ?: throw NoAnswer("no answer in time")
        } finally {
            // The thread is in a function that blocks. Only the end of the connection ends this function.
            if (!work.isCompleted) scope.launch { connection.disconnect() }
        }
    }

    private fun exchanged(connection: HttpURLConnection, request: Request, milliseconds: Int, most: Int): RawAnswer =
        try {
            val until = System.nanoTime() + milliseconds * 1_000_000L
            prepare(connection, request, milliseconds)
            val status = connection.responseCode
            if (status == -1) throw IOException("not an answer of HTTP")
            val headers = headersOf(connection)
            RawAnswer(status, headers, bytesOf(connection, request.method, status, headers, Ends(until, most)), connection.url.toString())
        } catch (error: IOException) {
            connection.disconnect()
            throw NoAnswer(error.toString(), error !is ConnectException && error !is UnknownHostException, error)
        }

    private fun prepare(connection: HttpURLConnection, request: Request, milliseconds: Int) {
        connection.requestMethod = request.method
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.connectTimeout = milliseconds
        connection.readTimeout = milliseconds
        connection.setRequestProperty("Accept-Encoding", "identity") // Android asks for gzip otherwise.
        for ((name, value) in request.headers) connection.setRequestProperty(name, value)
        val body = request.body ?: if (request.method in WITHOUT_BODY) return else ByteArray(0)
        connection.doOutput = true
        connection.setFixedLengthStreamingMode(body.size)
        connection.outputStream.use { it.write(body) }
    }

    /** A field that came twice is joined, as other platforms do it. The first line has no name. */
    private fun headersOf(connection: HttpURLConnection): Map<String, String> {
        val fields = generateSequence(0) { it + 1 }.map { connection.getHeaderFieldKey(it) to connection.getHeaderField(it) }
            .takeWhile { (name, value) -> name != null || value != null }
        val headers = LinkedHashMap<String, String>()
        for ((name, value) in fields) {
            val key = name?.lowercase() ?: continue
            headers[key] = headers[key]?.let { "$it, $value" } ?: value.orEmpty()
        }
        return headers
    }

    private fun bytesOf(connection: HttpURLConnection, method: String, status: Int, headers: Map<String, String>, ends: Ends): ByteArray {
        val stream: InputStream? = if (status >= 400) connection.errorStream else connection.inputStream
        val bytes = stream?.use { read(it, ends) } ?: ByteArray(0)
        val stated = headers["content-length"]?.toLongOrNull() ?: return bytes
        if (method != "HEAD" && stated != bytes.size.toLong()) throw IOException("the answer is cut")
        return bytes
    }

    private fun read(stream: InputStream, ends: Ends): ByteArray {
        val whole = ByteArrayOutputStream()
        val part = ByteArray(8192)
        while (true) {
            val count = stream.read(part)
            if (count < 0) return whole.toByteArray()
            whole.write(part, 0, count)
            if (whole.size() > ends.most) throw IOException("the answer is too long")
            if (System.nanoTime() > ends.until) throw IOException("no answer in time") // A read time-out begins anew with each byte.
        }
    }

    private class Ends(val until: Long, val most: Int)
}
