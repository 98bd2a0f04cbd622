import Foundation
import Testing

@testable import Baton

private let attempts = vectors("attempts")
private let scripts = attempts.filter { $0["run"]?.members != nil }

private func situation(_ of: Vector) throws -> Situation {
    let it = of.vector("situation")
    let facts = Facts(
        exchanged: it.isTrue("exchanged"), renewable: it.isTrue("renewable"), moved: it.isTrue("moved"), continued: it.isTrue("continued"),
        grants: Int(it.number("grants")), confirm: it.isTrue("confirm"), superseded: Int(it.number("superseded")), session: it.isTrue("session"),
        anew: it.isTrue("anew"), evidence: it.isTrue("evidence"), attested: it.isTrue("attested")
    )
    return Situation(
        verb: try #require(Verb(rawValue: it.text("verb"))), repeatable: it.isTrue("repeatable"), keyed: it.isTrue("keyed"),
        came: try #require(Came(rawValue: it.text("came"))), status: Int(it.number("status")), error: it.text("error"), code: it.text("code"),
        action: it.text("action"), defects: Int(it.number("defects")), synced: it.isTrue("synced"), pause: it.number("pause"),
        left: it.number("left"), facts: facts
    )
}

private func failures(_ rows: [Row]) throws -> [String] {
    try attempts.filter { next(try situation($0), rows: rows).rawValue != $0.text("step") }.map { $0.text("name") }
}

/// The table of rules: each vector on the table alone, then on a real client. Each row, deleted, makes a vector fail.
@Suite struct AttemptsTests {
    @Test func theTableDecidesEverySituation() throws {
        #expect(attempts.count > 400)
        #expect(try failures(rows) == [])
    }

    @Test(arguments: rows.map(\.name)) func withoutARowAVectorFails(_ name: String) throws {
        let others = rows.filter { $0.name != name }
        #expect(others.count == rows.count - 1)
        #expect(try !failures(others).isEmpty)
    }

    @Test func withoutTheDeadlineAVectorFails() throws { // Row 14.
        let endless = try attempts.filter { one in
            var late = try situation(one)
            late.left = .infinity
            return next(late).rawValue != one.text("step")
        }
        #expect(endless.count > 100)
    }

    @Test(arguments: scripts) func aRealClientTakesTheStep(_ vector: Vector) async throws {
        let run = vector.vector("run")
        let played = try await play(run)
        #expect(played.left == 0, "every answer was asked for")
        let step = try #require(Step(rawValue: vector.text("step")))
        try seen(step, played, vector, run)
        if step != .loggedOut, step != .rule8, ["call", "exchange"].contains(run.text("verb")) {
            #expect(played.record.session != nil, "the session is kept")
        }
    }

    /// What a client that takes a step does, seen from outside.
    private func seen(_ step: Step, _ played: Played, _ vector: Vector, _ run: Vector) throws {
        func sent(_ at: Int) throws -> Sent {
            guard at < played.events.count, case .sent(let sent) = played.events[at] else { throw NotThis() }
            return sent
        }
        func again(_ at: Int) throws {
            let (now, last) = (try sent(at), try #require(played.last))
            #expect([now.path, now.attempt, now.token] == [last.path, last.attempt, last.token])
            #expect(now.signature != last.signature, "signed again, with another nonce")
        }
        func ended(_ kind: String) throws {
            #expect(played.events == [])
            #expect(played.error?.kind == kind)
        }
        switch step {
        case .done:
            if run.text("verb") == "exchange" {
                #expect(try [sent(0).path, sent(0).token] == ["/things", "Bearer t2"])
            } else if case .answer(let answer) = played.value {
                #expect(answer.status == 200)
            } else {
                guard case .login(.done) = played.value else { throw NotThis() }
            }
        case .pause:
            #expect(played.events.first == .slept(vector.vector("situation").number("pause")))
            try again(1)
        case .sync: try again(0)
        case .answerLost: try ended("answer_lost")
        case .offline: try ended("offline")
        case .refused:
            try ended("refused")
            guard case .refused(let refused) = played.error else { throw NotThis() }
            #expect(refused.code == vector.vector("situation").text("code"))
        case .exchange: #expect(try sent(0).path == "/oauth/token")
        case .stepUp: #expect(try sent(0).path == "/step-up")
        case .returnStep:
            guard case .login(.step) = played.value else { throw NotThis() }
            #expect(played.record.pending?.authSession == "as.new")
        case .returnSession:
            #expect(played.events == [])
            guard case .login(.done(let done)) = played.value else { throw NotThis() }
            #expect(done.deviceId == "other")
        case .newAttempt:
            #expect(try sent(0).path == played.last?.path)
            #expect(try sent(0).attempt != played.last?.attempt)
        case .readStorage:
            #expect(try sent(0).path == "/things")
            #expect(try sent(0).token?.hasPrefix("Bearer newer-") == true)
        case .askAgain:
            guard case .slept(let length) = played.events.first else { throw NotThis() }
            #expect(length >= 1)
            try again(1)
        case .rule8:
            #expect(try sent(0).path == "/oauth/revoke")
            #expect(played.record.session == nil && played.record.key == nil)
            #expect(played.record.revocations.count == 1 && played.record.ended?.reason == "reuse")
        case .loggedOut:
            try ended("logged_out")
            guard case .loggedOut(let reason, _) = played.error else { throw NotThis() }
            #expect(played.record.session == nil && played.record.ended?.reason == reason)
        case .attest: Issue.record("no vector of a run has it")
        }
    }
}
