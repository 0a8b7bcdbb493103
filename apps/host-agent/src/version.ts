/** Version of this build; set by the bundler for images. */
export const softwareVersion: string = process.env['BERTH_VERSION'] ?? '0.1.0';
