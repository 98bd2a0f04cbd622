// What the sample uses of React Native and Expo, so that its types are checked without installing them.

declare module "react" {
  export function useState<T>(first: T): [T, (next: T) => void];
  export function useEffect(effect: () => void | (() => void), inputs: readonly unknown[]): void;
}
declare module "react/jsx-runtime" {
  export namespace JSX {
    type Element = object | null;
    interface ElementAttributesProperty { props: object }
    interface ElementChildrenAttribute { children: object }
    interface IntrinsicElements {}
  }
  export const jsx: unknown;
  export const jsxs: unknown;
}
declare module "react-native" {
  type Node = string | object | null | undefined | false;
  export function Text(props: { children: Node | Node[] }): object;
  export function View(props: { children: Node | Node[] }): object;
  export function Button(props: { title: string; onPress: () => void }): object;
  export function TextInput(props: { placeholder: string; value: string; secureTextEntry?: boolean; onChangeText: (text: string) => void }): object;
}
declare module "react-native-quick-crypto" {
  const crypto: Crypto;
  export default crypto;
}
declare module "expo-secure-store" {
  type Options = { keychainAccessible?: number };
  export const AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: number;
  export function getItemAsync(name: string, options?: Options): Promise<string | null>;
  export function setItemAsync(name: string, value: string, options?: Options): Promise<void>;
  export function deleteItemAsync(name: string, options?: Options): Promise<void>;
}
