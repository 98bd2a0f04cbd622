// The transport over URLSession. It follows no redirect, and keeps no cookies and no cache.

import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// On Linux no time-out of URLSession ends a body that drips, and the delegate of one task is not called. So the delegate of
/// the session counts the bytes, and a timer cancels.
public final class FoundationTransport: Transport, @unchecked Sendable {
    private let session: URLSession
    private let receiver = Receiver()

    public init() {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpCookieStorage = nil
        configuration.httpCookieAcceptPolicy = .never
        configuration.httpShouldSetCookies = false
        configuration.urlCache = nil
        configuration.urlCredentialStorage = nil
        configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
        session = URLSession(configuration: configuration, delegate: receiver, delegateQueue: nil)
    }

    deinit { session.finishTasksAndInvalidate() }

    public func send(_ request: Request, limits: Limits) async throws -> RawAnswer {
        try Task.checkCancellation()
        // What is signed must be what is sent.
        guard let url = URL(string: request.url), url.absoluteString == request.url else {
            throw InvalidInput("This platform cannot send to \(request.url).")
        }
        var asked = URLRequest(url: url, cachePolicy: .reloadIgnoringLocalCacheData, timeoutInterval: limits.timeout + 1)
        asked.httpMethod = request.method
        asked.httpBody = request.body
        asked.httpShouldHandleCookies = false
        for (name, value) in request.headers { asked.setValue(value, forHTTPHeaderField: name) }
        let task = session.dataTask(with: asked)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                receiver.begin(task, limits, continuation)
                if Task.isCancelled { receiver.end(task, .failure(CancellationError())) } // The caller has cancelled meanwhile.
            }
        } onCancel: {
            receiver.end(task, .failure(CancellationError()))
        }
    }
}

/// Return whether an error of URLSession came before anything was sent. Any other failure counts as sent.
private func isNotSent(_ error: any Error) -> Bool {
    switch (error as? URLError)?.code {
    case .cannotFindHost, .dnsLookupFailed, .notConnectedToInternet, .dataNotAllowed: return true
    case .cannotConnectToHost:
        #if canImport(FoundationNetworking)
            // Linux gives this code too if one address of the host refused, and the request was sent to the next one. Only
            // the message of libcurl shows the difference.
            return error.localizedDescription.hasPrefix("Failed to connect")
        #else
            return true
        #endif
    default: return false
    }
}

private final class Receiver: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private struct Receiving {
        let most: Int
        let continuation: CheckedContinuation<RawAnswer, any Error>
        let timer: Task<Void, any Error>
        var bytes = Data()
    }

    private let all = Box<[Int: Receiving]>([:])

    func begin(_ task: URLSessionDataTask, _ limits: Limits, _ continuation: CheckedContinuation<RawAnswer, any Error>) {
        let timer = Task {
            try await Task.sleep(nanoseconds: nanoseconds(limits.timeout))
            self.end(task, .failure(NoAnswer("no answer in time")))
        }
        all.change { $0[task.taskIdentifier] = Receiving(most: limits.bytes, continuation: continuation, timer: timer) }
        task.resume()
    }

    /// Give the caller its result, once, and close the connection of a task that has not ended.
    func end(_ task: URLSessionTask, _ result: Result<RawAnswer, any Error>) {
        guard let one = all.change({ $0.removeValue(forKey: task.taskIdentifier) }) else { return }
        one.timer.cancel()
        task.cancel()
        one.continuation.resume(with: result)
    }

    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
        completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }

    /// Baton never requires a password by HTTP, so such an answer is foreign. On Linux, a task would wait without end.
    func urlSession(
        _ session: URLSession, task: URLSessionTask, didReceive challenge: URLAuthenticationChallenge,
        completionHandler: @escaping @Sendable (URLSession.AuthChallengeDisposition, URLCredential?) -> Void
    ) {
        let method = challenge.protectionSpace.authenticationMethod
        if method == NSURLAuthenticationMethodHTTPBasic || method == NSURLAuthenticationMethodHTTPDigest {
            end(task, .failure(NoAnswer("a proxy or a firewall asks for a password")))
            completionHandler(.cancelAuthenticationChallenge, nil)
        } else {
            completionHandler(.performDefaultHandling, nil)
        }
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        let tooLong = all.change { now in
            guard let one = now[dataTask.taskIdentifier] else { return false }
            if one.bytes.count + data.count > one.most { return true }
            now[dataTask.taskIdentifier]?.bytes.append(data)
            return false
        }
        if tooLong { end(dataTask, .failure(NoAnswer("the answer is too long"))) }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        if let error {
            if (error as? URLError)?.code == .badURL { // On Linux, an IPv6 address (swift-corelibs-foundation, issue 5496).
                return end(task, .failure(InvalidInput("This platform cannot send to \(task.originalRequest?.url?.host ?? "this host").")))
            }
            return end(task, .failure(NoAnswer("no answer: \(error.localizedDescription)", sent: !isNotSent(error))))
        }
        guard let response = task.response as? HTTPURLResponse else { return end(task, .failure(NoAnswer("no answer of HTTP"))) }
        var headers: [String: String] = [:]
        for (name, value) in response.allHeaderFields { headers["\(name)".lowercased()] = "\(value)" }
        let bytes = all.value[task.taskIdentifier]?.bytes ?? Data()
        let raw = RawAnswer(status: response.statusCode, headers: headers, bytes: bytes, url: response.url?.absoluteString)
        end(task, .success(raw))
    }
}
