//! Names that are usual in Argentina, the common ones first.

/// Men's first names.
#[rustfmt::skip]
pub const MEN: &[&str] = &[
    "Juan", "Mateo", "Santiago", "Benjamín", "Joaquín", "Tomás", "Nicolás", "Agustín", "Matías", "Facundo", "Franco",
    "Ignacio", "Federico", "Gonzalo", "Ramiro", "Sebastián", "Martín", "Lautaro", "Emiliano", "Thiago", "Bautista",
    "Julián", "Ezequiel", "Maximiliano", "Leandro", "Cristian", "Damián", "Gastón", "Hernán", "Iván", "Simón",
    "Lucas", "Andrés", "Esteban", "Germán", "Raúl", "Rubén", "Héctor", "Óscar", "Ángel", "José Luis", "Aníbal",
    "Iñaki", "Nahuel", "Lihuén", "Íñigo", "Ñancu",
];

/// Women's first names.
#[rustfmt::skip]
pub const WOMEN: &[&str] = &[
    "María", "Sofía", "Martina", "Valentina", "Camila", "Lucía", "Catalina", "Julieta", "Micaela", "Florencia",
    "Victoria", "Agustina", "Milagros", "Carolina", "Paula", "Rocío", "Daniela", "Brenda", "Antonella", "Belén",
    "Guadalupe", "Abril", "Pilar", "Candela", "Morena", "Jazmín", "Delfina", "Ailén", "Malena", "Yamila", "Rosario",
    "Noelia", "Celeste", "Magalí", "Luján", "Soledad", "Inés", "Mónica", "Graciela", "Norma", "Estela", "Nélida",
    "Ayelén", "Begoña", "Suyai", "Zoé", "Úrsula",
];

/// Last names.
#[rustfmt::skip]
pub const LAST_NAMES: &[&str] = &[
    "González", "Rodríguez", "Gómez", "Fernández", "López", "Díaz", "Martínez", "Pérez", "García", "Sánchez",
    "Romero", "Sosa", "Álvarez", "Torres", "Ruiz", "Ramírez", "Flores", "Acosta", "Benítez", "Medina", "Suárez",
    "Herrera", "Aguirre", "Pereyra", "Gutiérrez", "Giménez", "Molina", "Silva", "Castro", "Rojas", "Ortiz", "Núñez",
    "Luna", "Juárez", "Cabrera", "Ríos", "Ferreyra", "Godoy", "Morales", "Domínguez", "Moreno", "Peralta", "Vega",
    "Carrizo", "Quiroga", "Castillo", "Ledesma", "Muñoz", "Ojeda", "Ponce", "Vera", "Vázquez", "Villalba", "Cardozo",
    "Navarro", "Ramos", "Arias", "Coronel", "Córdoba", "Figueroa", "Correa", "Cáceres", "Vargas", "Maldonado",
    "Mansilla", "Farías", "Rivero", "Paz", "Miranda", "Roldán", "Méndez", "Lucero", "Cruz", "Hernández", "Agüero",
    "Páez", "Blanco", "Mendoza", "Barrios", "Escobar", "Ávila", "Soria", "Leiva", "Acuña", "Martin", "Maidana",
    "Moyano", "Campos", "Olivera", "Duarte", "Soto", "Franco", "Bravo", "Valdez", "Toledo", "Andrada", "Montenegro",
    "Rossi", "Bianchi", "Russo", "Ferrari", "D'Angelo", "D'Amico", "Dell'Oro", "O'Higgins", "O'Connor", "Dall'Asta",
    "Zapata", "Ibáñez", "Saldaño", "Peñaloza", "Ordóñez", "Zúñiga", "Ñáñez", "Bergüés", "Echagüe", "Wolf", "Müller",
];

/// Last names of several words.
#[rustfmt::skip]
pub const COMPOUNDS: &[&str] = &[
    "De la Fuente", "Del Valle", "De los Santos", "Di Stéfano", "San Martín", "Ruiz Díaz", "De la Cruz", "Santa Cruz",
    "Saavedra Lamas", "De Alvear", "Del Río", "Von Bülow",
];

/// What friends say.
#[rustfmt::skip]
pub const NICKNAMES: &[&str] = &[
    "Lucho", "Tito", "Beto", "Nené", "Chiche", "Coca", "Pocha", "Ñato",
];
