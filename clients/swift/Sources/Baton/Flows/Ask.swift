// One request, sent with a new signature each time, until there is an answer to act on.

import Foundation

/// One question to the server.
struct Question<Value: Sendable>: Sendable {
    let verb: Verb
    let repeatable: Bool
    var keyed = false
    /// Reads storage and signs. Nil: storage moved, so nothing is sent.
    let prepare: @Sendable (_ created: TimeInterval) async throws -> Prepared?
    /// Throws `NoAnswer` if the answer lacks a required member.
    let read: @Sendable (Ours) throws -> Value
    /// Returns the facts about this operation, after a refusal.
    var facts: @Sendable () async throws -> Facts = { Facts() }
}

/// `answered` by a success. `ended`: the table has said what to do, and `refused` is set after a refusal.
enum Asked<Value: Sendable>: Sendable {
    case answered(Value)
    case ended(Step, Refused?)
}

/// The error of a step that the flow does not take.
func unexpected(_ step: Step, _ refused: Refused?) -> any Error { refused.map(BatonError.refused) ?? InvalidInput("unexpected step \(step)") }

extension Baton {
    func ask<Value: Sendable>(_ question: Question<Value>, _ patience: Patience) async throws -> Asked<Value> {
        var synced = false
        var defects = 0
        while true {
            try Task.checkCancellation()
            let created = second // Rule 2: first the time. Then `prepare` reads storage, and signs.
            guard let prepared = try await question.prepare(created) else { return .ended(.readStorage, nil) }
            var came = Came.answer
            var refused: Refused?
            let last: String
            do {
                let ours = try await send(prepared, patience)
                guard let told = ours.refused else { return .answered(try question.read(ours)) }
                refused = told
                last = told.description
            } catch let error as NoAnswer {
                came = error.sent ? .nothing : .notSent
                last = error.message
            }
            defects = refused?.code == "server_error" ? defects + 1 : 0
            let retryAfter = max(refused?.retryAfter ?? 0, refused?.code == "superseded" ? moment : 0)
            let situation = Situation(
                verb: question.verb, repeatable: question.repeatable, keyed: question.keyed, came: came,
                status: refused?.status ?? 0, error: refused?.error ?? "", code: refused?.code ?? "", action: refused?.action ?? "",
                defects: defects, synced: synced, pause: patience.next(retryAfter), left: patience.left,
                facts: refused == nil ? Facts() : try await question.facts()
            )
            switch next(situation) {
            case .pause: try await patience.pause(retryAfter) // Rule 5.
            case .sync: synced = true // `send` has set the offset from this answer.
            case .answerLost: throw BatonError.answerLost(last: last, refused: refused)
            case .offline: throw BatonError.offline(last: last)
            case let step: return .ended(step, refused)
            }
        }
    }
}

enum Kind: Sendable { case string, number, object, list }

/// Make a reader of answers that must have these members. Any other 2xx answer was changed on its way, and throws.
func having(_ members: [String: Kind]) -> @Sendable (Ours) throws -> [String: JSON] {
    { ours in
        for (name, kind) in members {
            let value = ours.members[name]
            let right = switch kind {
            case .string: value?.text != nil
            case .number: value?.double != nil
            case .object: value?.members != nil
            case .list: value?.elements != nil
            }
            if !right { throw NoAnswer("the answer has no `\(name)`") }
        }
        return ours.members
    }
}

/// Reads a token response (RFC 6749 section 5.1).
let tokens = having(["access_token": .string, "expires_in": .number])

func strings(_ value: JSON?) -> [String] { value?.elements?.compactMap(\.text) ?? [] }
