// A view that logs in, asks for a code, confirms a payment, and logs out. It has been parsed, but never run on a phone.

import Baton
import SwiftUI

struct ContentView: View {
    let baton: Baton
    @StateObject private var login: BatonState
    @State private var email = ""
    @State private var secret = ""
    @State private var step: LoginStep?
    @State private var message = ""

    init(baton: Baton) {
        self.baton = baton
        _login = StateObject(wrappedValue: BatonState(baton))
    }

    var body: some View {
        VStack(spacing: 16) {
            switch login.state {
            case .none: ProgressView()
            case .signedIn:
                Button("Pay 7 to Bob") { run { try await pay() } }
                SecureField("Password, for the payment", text: $secret)
                Button("Log out") { run { try await baton.logout() } }
            case .signedOut(let reason, _):
                if let reason { Text(words(reason)) }
                if step == nil { TextField("Email", text: $email).textContentType(.username) }
                SecureField(step == nil ? "Password" : "Code of your app", text: $secret)
                Button("Log in") { run { try await enter() } }
            }
            Text(message)
        }
        .padding()
        .task { step = try? await baton.pendingStep() } // Also after the app was closed during a login.
    }

    private func enter() async throws {
        let next = if let step { try await step.prove(Proof(totp: secret)) } else {
            try await baton.login(email: email, password: secret, deviceName: UIDevice.current.name)
        }
        if case .step(let found) = next { step = found } else { step = nil }
        secret = ""
    }

    private func pay() async throws {
        let key = Baton.newIdempotencyKey() // A real app stores it with the payment first.
        let payment: JSON = ["to": "bob", "amount": 700]
        let password = secret
        _ = try await baton.call("POST", "/transfers", json: payment, confirm: { _ in Proof(password: password) }, idempotencyKey: key)
        message = "Paid"
    }

    private func run(_ work: @escaping () async throws -> Void) {
        Task { do { try await work() } catch { message = error.localizedDescription } }
    }

    private func words(_ reason: String) -> String {
        switch reason {
        case "reuse", "replaced": "This login was used on another device. Log in again, and change your password."
        case "password_changed": "Your password was changed."
        case "logout": "You are logged out."
        default: "Your login has ended (\(reason))."
        }
    }
}
