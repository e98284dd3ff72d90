import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const repository = new URL('../../', import.meta.url)

/**
 * Makes one file of the device process and all that it is made of: TypeScript is gone, and a process starts in half
 * the time that loading several hundred modules takes.
 *
 * @returns Its path.
 */
export async function bundleDevice(): Promise<string> {
  // Below node_modules, so that what is left out (native code) is found from there.
  const folder = fileURLToPath(new URL('node_modules/.cache/leafkeeper/', repository))
  mkdirSync(folder, { recursive: true })
  const file = `${folder}crash-device-${process.pid}.mjs`
  const bundle = await rolldown({
    input: fileURLToPath(new URL('device.ts', import.meta.url)),
    platform: 'node',
    external: ['pkcs11js'],
    logLevel: 'silent',
    // The set-up script's profiles lie beside src/, and are looked for from the module that reads them.
    transform: {
      define: { 'import.meta.url': JSON.stringify(new URL('src/hsm/profile.ts', repository).href) },
    },
  })
  await bundle.write({ file, format: 'esm' })
  await bundle.close()
  return file
}
