"""Small texts in seven languages, written for this project: what languages.py learns from."""

TEXTS = {
    "en": """The house at the end of the street had been empty for many years when the family came
to live there. They were looking for a place with a garden, because the children wanted to have a
dog, and because their father thought that nothing was better than vegetables which you have grown
with your own hands. In the first winter it was so cold that they could not use all of the rooms.
They would sit around the fire in the kitchen, and the grandmother told them about the time when she
was young. What did people do without a telephone? They wrote letters, she said, and they waited.
Sometimes an answer came after a week, sometimes after a month, and often there was no answer at
all. You should not think that we were unhappy, though. We had enough to eat, we had work, and every
Saturday there was music. If somebody was ill, the neighbours brought soup. When I look at you with
your machines, I ask myself whether you know the people who live next door. The children laughed,
but on the following day they went over to the other side of the road and knocked.""",
    "de": """Das Haus am Ende der Straße hatte viele Jahre leer gestanden, als die Familie dort
einzog. Sie suchten einen Ort mit einem Garten, weil die Kinder einen Hund haben wollten und weil
ihr Vater meinte, nichts sei besser als Gemüse, das man mit den eigenen Händen gezogen hat. Im
ersten Winter war es so kalt, dass sie nicht alle Zimmer benutzen konnten. Sie saßen in der Küche um
das Feuer, und die Großmutter erzählte ihnen von der Zeit, als sie jung war. Was haben die Leute
ohne Telefon gemacht? Sie schrieben Briefe, sagte sie, und sie warteten. Manchmal kam eine Antwort
nach einer Woche, manchmal nach einem Monat, und oft kam überhaupt keine. Ihr dürft aber nicht
glauben, dass wir unglücklich waren. Wir hatten genug zu essen, wir hatten Arbeit, und jeden Samstag
gab es Musik. Wenn jemand krank war, brachten die Nachbarn eine Suppe. Wenn ich euch mit euren
Maschinen sehe, frage ich mich, ob ihr die Menschen kennt, die nebenan wohnen. Die Kinder lachten,
aber am nächsten Tag gingen sie auf die andere Seite der Straße und klopften.""",
    "fr": """La maison au bout de la rue était vide depuis de nombreuses années quand la famille
vint y habiter. Ils cherchaient un endroit avec un jardin, parce que les enfants voulaient avoir un
chien et que leur père pensait qu'il n'y a rien de meilleur que les légumes qu'on a fait pousser de
ses propres mains. Le premier hiver, il faisait si froid qu'ils ne pouvaient pas utiliser toutes les
pièces. Ils restaient assis autour du feu dans la cuisine, et la grand-mère leur parlait du temps où
elle était jeune. Que faisaient les gens sans téléphone ? Ils écrivaient des lettres, disait-elle,
et ils attendaient. Parfois une réponse arrivait après une semaine, parfois après un mois, et
souvent il n'y avait pas de réponse du tout. Mais ne croyez pas que nous étions malheureux. Nous
avions assez à manger, nous avions du travail, et chaque samedi il y avait de la musique. Si
quelqu'un était malade, les voisins apportaient de la soupe. Quand je vous vois avec vos machines,
je me demande si vous connaissez les gens qui vivent à côté. Les enfants rirent, mais le lendemain
ils allèrent de l'autre côté de la route et frappèrent à la porte.""",
    "es": """La casa al final de la calle llevaba muchos años vacía cuando la familia llegó a vivir
allí. Buscaban un lugar con jardín, porque los niños querían tener un perro y porque su padre
pensaba que no hay nada mejor que las verduras que uno ha cultivado con sus propias manos. El primer
invierno hacía tanto frío que no podían usar todas las habitaciones. Se sentaban alrededor del fuego
en la cocina, y la abuela les hablaba del tiempo en que era joven. ¿Qué hacía la gente sin teléfono?
Escribían cartas, decía ella, y esperaban. A veces la respuesta llegaba después de una semana, a
veces después de un mes, y muchas veces no había ninguna respuesta. Pero no penséis que éramos
infelices. Teníamos bastante para comer, teníamos trabajo, y cada sábado había música. Si alguien
estaba enfermo, los vecinos traían una sopa. Cuando os veo con vuestras máquinas, me pregunto si
conocéis a las personas que viven al lado. Los niños se rieron, pero al día siguiente fueron al otro
lado de la carretera y llamaron a la puerta.""",
    "it": """La casa in fondo alla strada era vuota da molti anni quando la famiglia venne ad
abitarci. Cercavano un posto con un giardino, perché i bambini volevano avere un cane e perché il
padre pensava che non c'è niente di meglio delle verdure che si sono coltivate con le proprie mani.
Il primo inverno faceva così freddo che non potevano usare tutte le stanze. Stavano seduti intorno
al fuoco in cucina, e la nonna raccontava loro del tempo in cui era giovane. Che cosa faceva la
gente senza telefono? Scrivevano lettere, diceva, e aspettavano. A volte la risposta arrivava dopo
una settimana, a volte dopo un mese, e spesso non c'era nessuna risposta. Ma non dovete credere che
fossimo infelici. Avevamo abbastanza da mangiare, avevamo il lavoro, e ogni sabato c'era la musica.
Se qualcuno era malato, i vicini portavano una minestra. Quando vi vedo con le vostre macchine, mi
chiedo se conoscete le persone che vivono accanto. I bambini risero, ma il giorno dopo andarono
dall'altra parte della strada e bussarono.""",
    "pt": """A casa no fim da rua estava vazia há muitos anos quando a família foi morar lá.
Procuravam um lugar com um jardim, porque as crianças queriam ter um cão e porque o pai achava que
não há nada melhor do que os legumes que se cultivaram com as próprias mãos. No primeiro inverno
fazia tanto frio que não podiam usar todos os quartos. Ficavam sentados em volta do fogo na cozinha,
e a avó falava-lhes do tempo em que era jovem. O que faziam as pessoas sem telefone? Escreviam
cartas, dizia ela, e esperavam. Às vezes a resposta chegava depois de uma semana, às vezes depois de
um mês, e muitas vezes não havia nenhuma resposta. Mas não pensem que éramos infelizes. Tínhamos o
suficiente para comer, tínhamos trabalho, e todos os sábados havia música. Se alguém estava doente,
os vizinhos traziam uma sopa. Quando vejo vocês com as suas máquinas, pergunto-me se conhecem as
pessoas que moram ao lado. As crianças riram, mas no dia seguinte foram para o outro lado da estrada
e bateram à porta.""",
    "nl": """Het huis aan het einde van de straat had vele jaren leeggestaan toen het gezin er kwam
wonen. Ze zochten een plek met een tuin, omdat de kinderen een hond wilden hebben en omdat hun vader
vond dat er niets beters is dan groente die je met je eigen handen hebt gekweekt. In de eerste
winter was het zo koud dat ze niet alle kamers konden gebruiken. Ze zaten in de keuken rond het
vuur, en de grootmoeder vertelde hun over de tijd toen zij jong was. Wat deden de mensen zonder
telefoon? Ze schreven brieven, zei ze, en ze wachtten. Soms kwam er een antwoord na een week, soms
na een maand, en vaak kwam er helemaal geen antwoord. Maar jullie moeten niet denken dat wij
ongelukkig waren. We hadden genoeg te eten, we hadden werk, en elke zaterdag was er muziek. Als
iemand ziek was, brachten de buren soep. Wanneer ik jullie met jullie machines zie, vraag ik me af
of jullie de mensen kennen die hiernaast wonen. De kinderen lachten, maar de volgende dag gingen ze
naar de overkant van de weg en klopten aan.""",
}
