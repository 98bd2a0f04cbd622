// The remaining time of one caller, and what callers share.

import Foundation

/// A value that several tasks change.
final class Box<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var stored: Value

    init(_ value: Value) { stored = value }

    var value: Value {
        get { lock.withLock { stored } }
        set { lock.withLock { stored = newValue } }
    }

    func change<Result>(_ work: (inout Value) throws -> Result) rethrows -> Result { try lock.withLock { try work(&stored) } }
}

/// The remaining time of one caller, for all requests of its call.
final class Patience: Sendable {
    private struct Spent {
        var pauses = 0
        var slept: TimeInterval = 0
        var draw: Double
    }

    private let options: Options
    private let deadline: TimeInterval
    private let began: TimeInterval
    private let spent: Box<Spent>

    init(_ options: Options, deadline: TimeInterval?) {
        self.options = options
        self.deadline = deadline ?? .infinity
        began = options.clock()
        spent = Box(Spent(draw: options.random()))
    }

    /// The seconds that are left. A clock that is set back gives no more time than the pauses have taken.
    var left: TimeInterval { deadline - max(options.clock() - began, spent.value.slept) }

    /// The seconds that are left, or nil without a deadline.
    var leftOrNil: TimeInterval? { deadline == .infinity ? nil : left }

    /// Return the next pause.
    func next(_ atLeast: TimeInterval) -> TimeInterval {
        let now = spent.value
        return pauseLength(pauses: now.pauses, draw: now.draw, atLeast: atLeast)
    }

    /// Wait before the next request.
    func pause(_ atLeast: TimeInterval) async throws {
        let length = next(atLeast)
        let draw = options.random()
        spent.change { $0 = Spent(pauses: $0.pauses + 1, slept: $0.slept + length, draw: draw) }
        try await options.sleep(length)
    }

    /// Wait for work that outlives this caller. At the deadline, or when the caller cancels, only the waiting ends. Work that
    /// this caller began has its deadline already.
    func wait<Value: Sendable>(for work: Task<Value, any Error>, mine: Bool = false) async throws -> Value {
        let first = First<Value>()
        Task { first.settle(await work.result) }
        let left = mine ? .infinity : left
        let timer = left == .infinity ? nil : Task {
            try await Task.sleep(nanoseconds: nanoseconds(left))
            first.settle(.failure(BatonError.offline(last: "another call waits for the exchange")))
        }
        defer { timer?.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { first.wait($0) }
        } onCancel: {
            first.settle(.failure(CancellationError()))
        }
    }
}

/// The first of several results, for one caller.
private final class First<Value: Sendable>: Sendable {
    private enum Phase {
        case open
        case waiting(CheckedContinuation<Value, any Error>)
        case settled(Result<Value, any Error>)
        case over
    }

    private let phase = Box(Phase.open)

    func wait(_ continuation: CheckedContinuation<Value, any Error>) {
        let known: Result<Value, any Error>? = phase.change { now in
            if case .settled(let result) = now {
                now = .over
                return result
            }
            now = .waiting(continuation)
            return nil
        }
        if let known { continuation.resume(with: known) }
    }

    func settle(_ result: Result<Value, any Error>) {
        let waiter: CheckedContinuation<Value, any Error>? = phase.change { now in
            switch now {
            case .open: now = .settled(result)
            case .waiting(let continuation):
                now = .over
                return continuation
            case .settled, .over: break
            }
            return nil
        }
        waiter?.resume(with: result)
    }
}
