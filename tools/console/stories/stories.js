// The stories. Each is data: steps of `say`, `do` and `expect`. The page plays them, and the tests play them in Chromium.

/** @typedef {{ say: string, do: [string, string, ...unknown[]], expect: Record<string, unknown> }} Step */

export const STORIES = [
  {
    name: "lost-answer",
    title: "The lost answer",
    question: "The server made a new token, and the answer never arrived. Is the person logged out?",
    moral: "No. The attempt makes an exchange safe to repeat: the same attempt always gets the same child. Without the attempt, the server could not tell this repetition from a thief who found the old token.",
    steps: [
      {
        say: "A person registers. The phone makes a key, and Baton binds the login to it. The token of the login is generation 0.",
        do: ["register", "phone"],
        expect: { result: "ok", phone_generation: 0, server_generation: 0 },
      },
      {
        say: "The token gets old, so the phone exchanges it for the next one. Before it sends, it stores an attempt: 128 random bits that name this exchange. The server moves to generation 1. Then the phone enters a tunnel, and the answer is lost.",
        do: ["tunnel", "phone", "answer_lost"],
        expect: { result: "offline", phone_generation: 0, server_generation: 1 },
      },
      {
        say: "Back in the network, the phone has the used token 0. It sends it again, with the same stored attempt. Baton sees that it is the same exchange, and gives the same child again.",
        do: ["exchange", "phone"],
        expect: { result: "ok", phone_generation: 1, server_generation: 1, repeated: ["same_child"] },
      },
      {
        say: "This time the request is lost on its way. The server has seen nothing, and stays at generation 1.",
        do: ["tunnel", "phone", "request_lost"],
        expect: { result: "offline", phone_generation: 1, server_generation: 1 },
      },
      {
        say: "The phone cannot see the difference, and it need not: it does the same again. Both sides are at generation 2.",
        do: ["exchange", "phone"],
        expect: { result: "ok", phone_generation: 2, server_generation: 2, login: "live" },
      },
    ],
  },
  {
    name: "theft",
    title: "The theft",
    question: "A thief copies the whole phone, with its key. How does Baton find out?",
    moral: "A copy cannot guess the attempts of the original. When both exchange the same token, there are two attempts for it, so there are two parties. Baton cannot tell who is the thief, so it ends the login for both.",
    steps: [
      {
        say: "The owner registers. Her phone has generation 0, and has already stored the attempt of its next exchange.",
        do: ["register", "owner"],
        expect: { result: "ok", phone_generation: 0, server_generation: 0 },
      },
      {
        say: "A thief copies all of it: token, stored attempt and key. Nothing has happened on the server. Both devices look the same: see the next attempt of each. (A key in the hardware of a phone cannot be copied. This phone has a software key.)",
        do: ["clone", "owner", "thief"],
        expect: { server_generation: 0, login: "live" },
      },
      {
        say: "The thief exchanges first. He uses the copied attempt and gets generation 1. His device draws a new attempt for its next exchange.",
        do: ["exchange", "thief"],
        expect: { result: "ok", phone_generation: 1, server_generation: 1 },
      },
      {
        say: "The owner exchanges the same token with the same copied attempt. This looks like a lost answer, so she gets the same child. Her phone draws an attempt of its own. Now the next attempts of the two devices differ for the first time.",
        do: ["exchange", "owner"],
        expect: { result: "ok", phone_generation: 1, server_generation: 1, repeated: ["same_child"] },
      },
      {
        say: "The thief exchanges again, with the attempt that his device drew. He is ahead: generation 2.",
        do: ["exchange", "thief"],
        expect: { result: "ok", phone_generation: 2, server_generation: 2 },
      },
      {
        say: "The owner exchanges token 1 with her own attempt. One token, two attempts: no single device does that. Baton ends the login in this same step.",
        do: ["exchange", "owner"],
        expect: { result: "logged_out", reason: "reuse", login: "reuse", repeated: ["same_child", "reuse"] },
      },
      {
        say: "The thief's newest token is worth nothing now. His next call is refused.",
        do: ["call", "thief", "GET", "/me"],
        expect: { result: "logged_out", reason: "reuse" },
      },
      {
        say: "The owner logs in again, with her password and a new key. The thief has neither. Her app can tell her why: two parties used one token.",
        do: ["login", "owner"],
        expect: { result: "ok", phone_generation: 0, login: "live" },
      },
    ],
  },
  {
    name: "restored-phone",
    title: "The restored phone",
    question: "A phone is restored from an old backup. Its token was used long ago. Is that a theft?",
    moral: "The old record has its own attempt, so the server sees a late repetition and ends nothing. The phone notices that its storage is a copy, and ends its login itself.",
    steps: [
      { say: "A person registers, and a backup of the whole phone is made.", do: ["register", "phone"], expect: { result: "ok", phone_generation: 0 } },
      { say: "The backup has the token of generation 0, and its attempt.", do: ["backup", "phone"], expect: { phone_generation: 0 } },
      { say: "The phone goes on: generation 1.", do: ["exchange", "phone"], expect: { result: "ok", phone_generation: 1, server_generation: 1 } },
      { say: "And generation 2.", do: ["exchange", "phone"], expect: { result: "ok", phone_generation: 2, server_generation: 2 } },
      { say: "The backup is restored. The phone has generation 0 again. The server is at 2.", do: ["restore", "phone"], expect: { phone_generation: 0, server_generation: 2, login: "live" } },
      {
        say: "The app exchanges token 0 with its attempt. It is a late repetition, answered with superseded. Another process could be ahead, so the app reads its storage again. The storage still has generation 0, so it must be a copy. The app ends the login.",
        do: ["exchange", "phone"],
        expect: { result: "logged_out", reason: "reuse" },
      },
      { say: "The person logs in once, with a new key. There is no loop, and no account is locked.", do: ["login", "phone"], expect: { result: "ok", phone_generation: 0, login: "live" } },
    ],
  },
  {
    name: "wrong-clock",
    title: "The wrong clock",
    question: "The clock of the phone is an hour ahead. Signatures are good for five minutes. What now?",
    moral: "A wrong clock costs one more request. It never ends a login.",
    steps: [
      { say: "A person registers, with a correct clock.", do: ["register", "phone"], expect: { result: "ok", phone_generation: 0 } },
      { say: "The clock of the phone jumps one hour ahead.", do: ["clock", "phone", 3600], expect: { phone_generation: 0 } },
      {
        say: "The phone exchanges. Its signature has a time in the future, so the server refuses the request. The answer has the true time, and the app signs again with this time.",
        do: ["exchange", "phone"],
        expect: { result: "ok", phone_generation: 1, login: "live" },
      },
      { say: "The app has stored the difference. The next call is right at the first try.", do: ["call", "phone", "GET", "/me"], expect: { result: "ok", answers: ["200"] } },
    ],
  },
  {
    name: "step-up",
    title: "The step-up",
    question: "A thief holds the unlocked phone. Can he move all the money?",
    moral: "A route can require a fresh proof of the person for exactly one request. The unlocked phone is not that proof.",
    steps: [
      { say: "A person registers. The sample route POST /transfers takes amounts in cents.", do: ["register", "phone"], expect: { result: "ok" } },
      { say: "A small transfer: the signature of the phone is enough.", do: ["call", "phone", "POST", "/transfers", { to: "ben", amount: 900 }], expect: { result: "ok", answers: ["201"] } },
      {
        say: "A large transfer without the password: refused. The login goes on.",
        do: ["call", "phone", "POST", "/transfers", { to: "ben", amount: 90000 }],
        expect: { result: "refused", login: "live" },
      },
      {
        say: "The app asks the person for the password. Baton gives a grant for exactly this request: method, path and body. With it, the transfer goes through.",
        do: ["confirmed", "phone", "POST", "/transfers", { to: "ben", amount: 90000 }],
        expect: { result: "ok", login: "live" },
      },
    ],
  },
];

export const story = (name) => STORIES.find((one) => one.name === name) ?? null;
