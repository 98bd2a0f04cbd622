package com.example.orders

import android.app.Activity
import android.app.AlertDialog
import android.os.Bundle
import android.text.InputType
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import baton.client.*
import baton.client.android.androidBaton
import kotlin.coroutines.resume
import kotlinx.coroutines.*

/** Login, a second factor, a payment that asks for the password, and logout. It needs `kotlinx-coroutines-android`. */
class LoginActivity : Activity() {
    private val scope = MainScope()
    private val baton by lazy { androidBaton(this, "https://api.example.com/api", "mobile") } // An app with more screens keeps it in its Application.
    private val said by lazy { TextView(this) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val email = field("E-mail", InputType.TYPE_CLASS_TEXT)
        val password = field("Password", PASSWORD)
        val buttons = listOf(
            button("Log in") {
                var login = baton.pendingStep() ?: baton.login("${email.text}", "${password.text}", "Phone")
                while (login is LoginStep) login = login.prove(Proof(totp = ask("Code of your authenticator app")))
            },
            button("Pay 7 Euro") {
                val key = Baton.newIdempotencyKey() // A real app stores it with the payment, and sends both again after a restart.
                baton.call("POST", "/transfers", mapOf("to" to "bob", "amount" to 700), idempotencyKey = key) { Proof(password = ask("Your password", PASSWORD)) }
                said.text = "Paid."
            },
            button("Log out") { baton.logout() },
        )
        setContentView(LinearLayout(this).apply { orientation = LinearLayout.VERTICAL; (listOf(said, email, password) + buttons).forEach(::addView) })
        doing { baton.states().collect { said.text = if (it is State.SignedOut) words(it.reason) else "You are logged in." } }
    }

    override fun onDestroy() = super.onDestroy().also { scope.cancel(); baton.close() }

    private fun field(hint: String, type: Int) = EditText(this).apply { setHint(hint); setInputType(type) }

    private fun button(name: String, work: suspend () -> Unit) = Button(this).apply { text = name; setOnClickListener { doing(work) } }

    private fun doing(work: suspend () -> Unit) = scope.launch {
        try {
            work()
        } catch (error: BatonException) {
            said.text = when (error) {
                is LoggedOut -> words(error.reason)
                is NotLoggedIn -> words(null)
                is Offline -> "There is no network. You are still logged in."
                is AnswerLost -> "We do not know whether that worked. Look before you do it again."
                is StorageUnavailable -> "Unlock the phone, and try again."
                is BrokenStorage -> "Update the app."
                is Refused -> error.problem["detail"] as? String ?: error.code
            }
        }
    }

    /** Ask the person. A dialog that is cancelled cancels the work. */
    private suspend fun ask(what: String, type: Int = InputType.TYPE_CLASS_TEXT): String = suspendCancellableCoroutine { waiting ->
        val input = field(what, type)
        AlertDialog.Builder(this).setTitle(what).setView(input).setOnCancelListener { waiting.cancel() }
            .setPositiveButton("OK") { _, _ -> waiting.resume("${input.text}") }.show()
    }
}

private const val PASSWORD = InputType.TYPE_CLASS_TEXT or InputType.TYPE_TEXT_VARIATION_PASSWORD

/** Say why the last login has ended. */
internal fun words(reason: String?) = when (reason) {
    null, "logout", "ended_everywhere" -> "Log in."
    "reuse", "replaced" -> "A copy of this login was used. Log in again. If that was not you, change your password."
    "ended_by_owner" -> "You have ended this login on another device."
    "password_changed", "password_reset", "claimed", "undone" -> "Your password or your address was changed. Log in again."
    "ended_by_operator" -> "Our support has ended this login. Log in again."
    "identity_unlinked" -> "A way to log in was removed from your account. Log in again."
    "account_disabled" -> "Your account is locked. Ask our support."
    "key_lost" -> "This phone has lost its key. Log in again."
    else -> "Your login has ended. Log in again." // idle, expired, and what a later server says.
}
