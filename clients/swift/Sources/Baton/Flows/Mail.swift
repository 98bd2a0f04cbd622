// Requests without a token, signed by the key of the device: codes by mail, and the options of a login by passkey.

import Foundation

extension Baton {
    /// Send a code to an address. Return the mail session of the code.
    func mailCode(_ path: String, _ email: String) async throws -> String {
        let seen = try await record().key
        if options.binding == .key, let made = try await keyToMake(seen) {
            try await update { now in
                var later = now
                if now.key?.data == seen?.data { later.key = made }
                return later
            }
        }
        let known = try await introduction(try await record())
        let device = known.device.merging(["name": ""]) { $1 }
        let members: [String: JSON] = ["email": .string(email), "client_id": .string(clientId), "device": .object(device)]
        return try await byKey(path, members, known: known, having(["mail_session": .string]))["mail_session"]?.text ?? ""
    }

    func byKey<Value: Sendable>(
        _ path: String, _ members: [String: JSON], deadline: TimeInterval? = 30, known: Introduction? = nil,
        _ read: @escaping @Sendable (Ours) throws -> Value
    ) async throws -> Value {
        let signer: RequestSigner?
        if let known { signer = known.signer } else { signer = try await introduction(try await record()).signer }
        let plan = Plan(method: "POST", path: path, body: try JSON.object(members).written())
        let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { try await self.prepared(plan, $0, signer) }
        switch try await ask(Question(verb: .time, repeatable: true, prepare: prepare, read: read), patience(deadline)) {
        case .answered(let value): return value
        case .ended(let step, let refused): throw unexpected(step, refused)
        }
    }
}
