/** A way to a TPM: a command goes out, its response comes back. One at a time; after a failure it is of no use. */
export interface TpmChannel {
  /** @throws LeafkeeperError `TPM_UNREACHABLE`, `TPM_DEVICE_ERROR` for what is no response */
  transmit(command: Buffer): Promise<Buffer>
  /** Lets go of the TPM. A command that is under way fails. May be called twice. */
  close(): void
}
