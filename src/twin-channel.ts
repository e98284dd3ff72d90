/** Properties of a device twin, as JSON has them. */
export type TwinProperties = Readonly<Record<string, unknown>>

/** The device's side of its twin on one hub connection. */
export interface TwinChannel {
  /**
   * Listens for what is wanted of the device and then reads the twin, so that nothing is missed in between.
   *
   * @param onDesired told of every later change, as a JSON merge patch (RFC 7396)
   * @throws LeafkeeperError `TWIN_UNAVAILABLE` where the hub refuses or does not answer, `HUB_CONNECTION_LOST`
   */
  read(
    onDesired: (patch: TwinProperties) => void,
  ): Promise<{ readonly desired: TwinProperties; readonly reported: TwinProperties }>
  /**
   * Reports properties, as a JSON merge patch. Resolves when the hub has taken it.
   *
   * @throws LeafkeeperError as `read` does
   */
  report(patch: TwinProperties): Promise<void>
}
