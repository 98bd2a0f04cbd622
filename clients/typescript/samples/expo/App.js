// An Expo app: login, a second factor, a call, a step-up, logout. It has never run on a phone: see docs/baton/on-a-phone.md.

import * as SecureStore from "expo-secure-store";
import { useEffect, useState } from "react";
import { Button, Text, TextInput, View } from "react-native";
import QuickCrypto from "react-native-quick-crypto";
import { makeBaton, wordsFor } from "./baton.js";

const baton = makeBaton(SecureStore, QuickCrypto, { baseUrl: "https://api.example.com/api", clientId: "mobile" });

export default function App() {
  const [state, setState] = useState(/** @type {import("baton-client/react-native").State | null} */ (null));
  const [step, setStep] = useState(/** @type {import("baton-client/react-native").LoginStep | null} */ (null));
  const [[email, password, code], setTyped] = useState(["", "", ""]);
  const [said, say] = useState("");

  useEffect(() => {
    void baton.state().then(setState);
    void baton.pendingStep().then(setStep); // A login that waited for a code when the app was killed.
    return baton.onState(setState);
  }, []);

  /** @param {() => Promise<unknown>} work */
  const doing = (work) => () => {
    say("");
    // The reason of an ended login is in the state.
    void work().catch((error) => error.kind !== "logged_out" && say(error.code ?? error.message));
  };
  /** @param {import("baton-client/react-native").Login} login */
  const entered = (login) => setStep(login.done ? null : login.step);
  const logIn = async () => entered(await baton.login(email, password, { deviceName: "a phone" }));
  const prove = async () => step && entered(await step.prove({ totp: code }));
  const confirm = async () => ({ password }); // Called only if the route requires it: the person has typed it below.
  const call = async () => say(JSON.stringify(await baton.me()));

  if (state === null) return <Text>One moment</Text>;
  if (state.signedIn)
    return (
      <View>
        <Text>{said || "You are logged in."}</Text>
        <Button title="Call" onPress={doing(call)} />
        <TextInput placeholder="Password" value={password} secureTextEntry onChangeText={(text) => setTyped([email, text, code])} />
        <Button title="Log out everywhere" onPress={doing(() => baton.logoutEverywhere(confirm))} />
        <Button title="Log out" onPress={doing(() => baton.logout())} />
      </View>
    );
  return (
    <View>
      <Text>{said || wordsFor(state.reason)}</Text>
      <TextInput placeholder="E-mail" value={email} onChangeText={(text) => setTyped([text, password, code])} />
      <TextInput placeholder="Password" value={password} secureTextEntry onChangeText={(text) => setTyped([email, text, code])} />
      {step && <TextInput placeholder="Code" value={code} onChangeText={(text) => setTyped([email, password, text])} />}
      <Button title={step ? "Continue" : "Log in"} onPress={doing(step ? prove : logIn)} />
    </View>
  );
}
