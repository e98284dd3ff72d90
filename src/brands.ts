declare const brand: unique symbol
type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }

/** Certificates or a request as PEM text (RFC 7468). A chain has its leaf first. */
export type Pem = Brand<string, 'Pem'>

/** SHA-256 over a certificate's DER, as 64 upper-case hexadecimal digits without separators. */
export type Thumbprint = Brand<string, 'Thumbprint'>

/** A device id of IoT Hub, which is also the registration id in DPS and the common name of the leaf. */
export type DeviceId = Brand<string, 'DeviceId'>

/** The `CKA_ID` that a generation's key pair and certificates share on the token, as lower-case hexadecimal. */
export type KeyId = Brand<string, 'KeyId'>
