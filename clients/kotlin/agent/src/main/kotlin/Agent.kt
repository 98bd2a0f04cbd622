package baton.client.agent

import baton.client.Baton
import baton.client.BatonException
import baton.client.Binding
import baton.client.Confirm
import baton.client.DeviceRecord
import baton.client.Json
import baton.client.LoggedOut
import baton.client.Login
import baton.client.LoginDone
import baton.client.LoginStep
import baton.client.Options
import baton.client.Proof
import baton.client.Refused
import baton.client.SoftwareKeys
import baton.client.State
import baton.client.Storage
import baton.client.Transport
import baton.client.jvm.FileStorage
import baton.client.jvm.JdkTransport
import java.nio.file.Path
import java.security.MessageDigest
import java.util.Base64
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicInteger
import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch

// The agent of the Kotlin client: JSON lines on standard input become calls of the client. It is never shipped.

/** A line of the driver. */
private class Line(private val members: Map<*, *>) {
    operator fun get(name: String): Any? = members[name]

    fun text(name: String): String = members[name] as String

    fun textOrNull(name: String): String? = members[name] as String?

    fun number(name: String): Double = (members[name] as Number? ?: 0).toDouble()

    fun flag(name: String): Boolean = members[name] == true

    fun line(name: String): Line = Line(members[name] as Map<*, *>)

    fun deadline(): Duration = (members["deadline_s"] as Number?)?.toDouble()?.seconds ?: 30.seconds

    operator fun contains(name: String): Boolean = name in members
}

/** What the driver can change while the agent runs. */
private class Settings {
    @Volatile var skew = 0.0
    @Volatile var scale = 0.0
    @Volatile var locked = false
    @Volatile var full = false
    @Volatile var crash: Pair<String, String>? = null

    /** End the process at the point that the driver has named, as if it was killed. */
    fun point(name: String, path: String? = null) {
        val (point, of) = crash ?: return
        if (point == name && (path == null || of == "" || of == path)) Runtime.getRuntime().halt(9)
    }
}

/** The storage, which crashes, throws or is full on request. */
private class AgentStorage(private val files: Storage, private val set: Settings) : Storage {
    override fun read(): DeviceRecord {
        check(!set.locked) { "locked" }
        return files.read()
    }

    override fun update(change: (DeviceRecord) -> DeviceRecord): DeviceRecord {
        check(!set.locked && !set.full) { "full" }
        val before = files.read()
        val moves = change(before).session != before.session
        if (moves) set.point("before_store")
        return files.update(change).also { if (moves) set.point("after_store") }
    }
}

private class Agent {
    private val set = Settings()
    private val asked = AtomicInteger()
    private val running = ConcurrentHashMap<Long, Job>()
    private lateinit var storage: Storage
    private lateinit var client: Baton
    private var step: LoginStep? = null

    private fun open(line: Line) {
        set.skew = line.number("skew")
        set.scale = line.number("scale")
        storage = AgentStorage(FileStorage(Path.of(line.text("store"))), set)
        val sending = JdkTransport()
        val transport = Transport { request, limits ->
            val path = request.url.substringBefore('?').substringAfter("/api", "")
            set.point("before_send", path)
            sending.send(request, limits).also { set.point("after_answer", path) }
        }
        val options = Options(
            Binding.valueOf((line.textOrNull("binding") ?: "key").uppercase()),
            clock = { System.currentTimeMillis() / 1000.0 + set.skew },
            sleep = { delay((it * set.scale * 1000).toLong()) },
        )
        client = Baton(line.text("base_url"), line.text("client_id"), storage, SoftwareKeys(), transport, options)
        client.onState { say(mapOf("event" to "state") + members(it)) }
    }

    private fun members(state: State): Map<String, Any?> = when (state) {
        is State.SignedIn -> mapOf("signed_in" to true, "reason" to null)
        is State.SignedOut -> mapOf("signed_in" to false, "reason" to state.reason)
    }

    private fun members(login: Login): Map<String, Any?> = when (login) {
        is LoginDone -> mapOf("done" to true, "device_id" to login.deviceId)
        is LoginStep -> mapOf("done" to false, "factors" to login.factors, "enrol" to login.enrol).also { step = login }
    }

    private fun confirm(line: Line): Confirm? = line.textOrNull("password")?.let { password ->
        {
            asked.incrementAndGet()
            Proof(password = password)
        }
    }

    private suspend fun call(line: Line): Any? {
        asked.set(0)
        val query = if ("query" in line) (line["query"] as Map<*, *>).entries.associate { "${it.key}" to "${it.value}" } else emptyMap()
        val answer = client.call(
            line.text("method"), line.text("path"), line["json"], query = query, idempotencyKey = line.textOrNull("idempotency_key"),
            repeat = line["repeat"] as Boolean?, deadline = line.deadline(), confirm = confirm(line),
        )
        val json = if (answer.bytes.isEmpty()) null else answer.json()
        return mapOf("status" to answer.status, "json" to json, "asked" to asked.get(), "replayed" to answer.headers["baton-replayed"])
    }

    private suspend fun prove(line: Line): Any? {
        val proof = Proof(line.textOrNull("password"), line.textOrNull("totp"), null, line.textOrNull("recovery_code"), line.textOrNull("email_code"))
        return members(step!!.prove(proof, enrolment = line.textOrNull("enrolment")))
    }

    /** Return what the driver compares. */
    private fun record(): Any? {
        val record = storage.read()
        val thumbprint = record.key?.jwk?.run {
            val text = """{"crv":"$crv","kty":"$kty","x":"$x","y":"$y"}"""
            Base64.getUrlEncoder().withoutPadding().encodeToString(MessageDigest.getInstance("SHA-256").digest(text.toByteArray()))
        }
        return mapOf(
            "token" to record.session?.accessToken, "attempt" to record.session?.attempt, "device_id" to record.session?.deviceId,
            "key" to thumbprint, "pending" to (record.pending != null), "revocations" to record.revocations.size,
        )
    }

    private fun change(line: Line) {
        if ("skew" in line) set.skew = line.number("skew")
        if ("scale" in line) set.scale = line.number("scale")
        if ("locked" in line) set.locked = line.flag("locked")
        if ("full" in line) set.full = line.flag("full")
        if ("crash" in line) set.crash = line.line("crash").run { text("at") to textOrNull("path").orEmpty() }
    }

    private suspend fun done(line: Line): Any? {
        when (val verb = line.text("do")) {
            "open" -> open(line)
            "register" -> return members(client.register(line.text("email"), line.text("password"), "agent", deadline = line.deadline()))
            "login" -> return members(client.login(line.text("email"), line.text("password"), "agent", deadline = line.deadline()))
            "pending_step" -> return client.pendingStep().also { step = it } != null
            "prove" -> return prove(line)
            "enrolment" -> return step!!.enrolment("totp")
            "call" -> return call(line)
            "step_up" -> return client.stepUp(Proof(line.text("password")), line.text("method"), line.text("path"), line["json"])
            "forgot_password" -> return client.forgotPassword(line.text("email"))
            "reset_password" -> client.resetPassword(line.text("session"), line.text("code"), line.text("new_password"))
            "me" -> return client.me(line.deadline())
            "devices" -> return client.devices()
            "end_device" -> client.endDevice(line.text("device_id"), confirm(line)!!)
            "change_password" -> client.changePassword(line.text("new_password"), confirm(line)!!)
            "delete_account" -> client.deleteAccount(confirm(line)!!)
            "logout" -> return mapOf("confirmed" to client.logout().confirmed)
            "logout_everywhere" -> client.logoutEverywhere(confirm(line)!!)
            "forget" -> client.forget()
            "state" -> return members(client.state())
            "sync_clock" -> return client.syncClock()
            "expire" -> storage.update { it.copy(session = it.session?.copy(expiresAt = 0.0)) }
            "record" -> return record()
            "own_attempt" -> storage.update { it.copy(session = it.session?.copy(attempt = "b".repeat(22))) }
            "lose_key" -> SoftwareKeys().create().data.let { data -> storage.update { it.copy(key = it.key?.copy(data = data)) } }
            "set" -> change(line)
            "cancel" -> running.getValue(line.number("of").toLong()).cancel()
            "parallel" -> return coroutineScope { List(line.number("n").toInt()) { async { result(line.line("of")) } }.awaitAll() }
            else -> error("unknown: $verb")
        }
        return null
    }

    /** Do what a line says. Return its answer or its error. */
    private suspend fun result(line: Line): Map<String, Any?> =
        try {
            mapOf("ok" to done(line))
        } catch (error: Exception) {
            val kind = when (error) {
                is BatonException -> error.kind
                is CancellationException -> "cancelled"
                is IllegalArgumentException -> "type_error"
                else -> error.javaClass.simpleName
            }
            val refused = error as? Refused
            val ended = error as? LoggedOut
            mapOf(
                "error" to mapOf(
                    "kind" to kind, "text" to error.message.orEmpty(), "reason" to (ended?.reason ?: refused?.reason), "code" to refused?.code,
                    "action" to refused?.action, "confirmed" to ended?.confirmed, "status" to refused?.status,
                ),
            )
        }

    fun begin(scope: CoroutineScope, line: Line) {
        val id = line.number("id").toLong()
        val job = scope.launch(Dispatchers.Default, CoroutineStart.LAZY) { say(mapOf("id" to id) + result(line)) }
        running[id] = job
        job.start()
    }

    private fun say(members: Map<String, Any?>) = synchronized(System.out) { println(Json.write(members)) }
}

/** Read lines until the end of the input. Each runs in its own coroutine. */
public suspend fun main(): Unit = coroutineScope {
    val agent = Agent()
    for (text in generateSequence(::readlnOrNull)) agent.begin(this, Line(Json.parse(text) as Map<*, *>))
}
